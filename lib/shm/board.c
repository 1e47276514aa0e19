/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of the board, see board.h. */
#include "shm/board.h"

#include <string.h>

#include "base/message.h"

static struct shm_board *rows_of(const struct region *r) { return region_at(r, r->geo.board_off); }

static struct label_table names_of(const struct region *r)
{
	return (struct label_table){ .rows = region_at(r, r->geo.board_off), .row_bytes = sizeof(struct shm_board),
		.count = r->geo.board_rows, .text_words = BOARD_TEXT_WORDS, .seed = r->geo.hash_seed, .may_claim = !r->read_only };
}

enum larder_status board_find(const struct region *r, const char *name, struct word **words)
{
	const struct label_table names = names_of(r);
	uint32_t row = 0;
	enum larder_status status = label_find(&names, name, strnlen(name, BOARD_NAME_BYTES + 1), &row);

	*words = status == LARDER_OK ? rows_of(r)[row].value : NULL;
	if (status == LARDER_INVALID)
		message_set("name of shared words \"%.40s\": must have 1 .. %u bytes", name, BOARD_NAME_BYTES);
	if (status == LARDER_NO_ROOM)
		message_set("%s: no row left for the shared words \"%s\": all %u are taken; create the cache with more instrument_bytes", r->path,
				name, r->geo.board_rows);
	return status;
}

bool board_row(const struct region *r, uint32_t row, char name[BOARD_NAME_BYTES + 1], const struct word **words)
{
	const struct label_table names = names_of(r);

	if (row >= r->geo.board_rows)
		return false;
	name[label_read(&names, row, name)] = 0;
	*words = rows_of(r)[row].value;
	return true;
}

void board_name_printable(char *name)
{
	for (; *name; name++)
		if (*name < ' ' || *name > '~')
			*name = '?';
}
