/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder top: a live view of a cache, read-only.  Draws frames (top.h) on a terminal through ncurses and serves the
 * keys, or prints them one after the other.  The cache may go and come again meanwhile.
 */
#define _GNU_SOURCE
#include "top.h"

#include <curses.h>
#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS 60000

struct session {
	struct top top;
	struct frame frame;
	struct canvas canvas;
	unsigned table_rows, table_count;
	uint64_t next_ms; /* steady clock: when to look again */
	bool leave;
};

enum { ONCE = 256, SIZE, ASCII };

static const struct option longs[] = {
	LONG_HELP,
	{ "interval", required_argument, NULL, 'd' },
	{ "batch", no_argument, NULL, 'b' },
	{ "count", required_argument, NULL, 'n' },
	{ "once", no_argument, NULL, ONCE },
	{ "view", required_argument, NULL, 'v' },
	{ "filter", required_argument, NULL, 'f' },
	{ "size", required_argument, NULL, SIZE },
	{ "ascii", no_argument, NULL, ASCII },
	LONG_END,
};

/* ---- Print ---- */

static void print_canvas(const struct canvas *canvas)
{
	for (int row = 0; row < canvas->rows; row++) {
		const struct cell *cells = canvas->cells + row * canvas->columns;
		int count = canvas->columns;
		while (count && cells[count - 1].c == L' ')
			count--;
		for (int i = 0; i < count; i++) {
			char bytes[MB_LEN_MAX + 1] = "";
			mbstate_t state = { 0 };
			size_t length = cells[i].c ? wcrtomb(bytes, cells[i].c, &state) : 0;
			if (cells[i].c && length == (size_t)-1)
				putchar('?');
			else
				fwrite(bytes, 1, length, stdout);
		}
		putchar('\n');
	}
}

static void wait_ms(int64_t ms)
{
	struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left))
		;
}

static bool draw(struct session *session)
{
	if (frame_draw(&session->canvas, &session->top, &session->frame, &session->table_rows, &session->table_count))
		return true;
	report_cache(LARDER_NO_MEMORY);
	return false;
}

/* count 0: until nobody reads any more. */
static int print_frames(struct session *session, uint64_t count)
{
	top_look(&session->top);
	if (!session->top.there) {
		complain("%s", session->top.follow.state);
		return TOOL_NOT_FOUND;
	}
	for (uint64_t i = 0; !count || i < count; i++) {
		wait_ms(session->frame.interval_ms);
		top_look(&session->top);
		if (!draw(session))
			return TOOL_FAILED;
		if (i)
			putchar('\n');
		print_canvas(&session->canvas);
		if (fflush(stdout))
			return TOOL_FAILED;
	}
	return TOOL_OK;
}

/* ---- Keys ---- */

static void choose_view(struct session *session, unsigned view)
{
	session->frame.view = (enum top_view)(view % VIEW_COUNT);
	session->frame.first = 0;
}

static void move_rows(struct session *session, int64_t by)
{
	int64_t first = (int64_t)session->frame.first + by,
		last = (int64_t)session->table_count - (int64_t)session->table_rows;

	first = first > last ? last : first;
	session->frame.first = first > 0 ? (unsigned)first : 0;
}

/* The columns of the view, and "as they come" past the last. */
static void move_sort(struct session *session, int by)
{
	struct frame *frame = &session->frame;
	struct table table;

	if (!session->top.there || !table_fill(&table, &session->top, frame->view, frame->filter))
		return;
	unsigned places = table.column_count + 1, at = frame->sort[frame->view];
	at = at > table.column_count ? table.column_count : at;
	frame->sort[frame->view] = (at + places + (unsigned)by) % places;
	table_free(&table);
}

static void change_interval(struct session *session, bool longer)
{
	int64_t ms = longer ? session->frame.interval_ms * 2 : session->frame.interval_ms / 2;

	session->frame.interval_ms = ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS
			: ms > INTERVAL_MAX_MS            ? INTERVAL_MAX_MS
							  : ms;
	session->next_ms = steady_clock_ms() + (uint64_t)session->frame.interval_ms;
}

static void type_filter(struct session *session, int key)
{
	struct frame *frame = &session->frame;
	size_t length = strlen(frame->filter);

	frame->first = 0;
	if (key == '\n' || key == '\r' || key == KEY_ENTER || key == 27)
		frame->typing = false;
	if (key == 27)
		frame->filter[0] = '\0';
	else if ((key == KEY_BACKSPACE || key == 127 || key == 8) && length)
		frame->filter[length - 1] = '\0';
	else if (key >= ' ' && key < 256 && key != 127 && length + 1 < sizeof frame->filter)
		frame->filter[length] = (char)key;
}

static void serve_movement(struct session *session, int key)
{
	int64_t page = session->table_rows > 1 ? session->table_rows - 1 : 1;

	switch (key) {
	case KEY_UP: move_rows(session, -1); break;
	case KEY_DOWN: move_rows(session, 1); break;
	case KEY_PPAGE: move_rows(session, -page); break;
	case KEY_NPAGE: move_rows(session, page); break;
	case KEY_HOME: move_rows(session, INT32_MIN); break;
	case KEY_END: move_rows(session, INT32_MAX); break;
	default: break;
	}
}

static void serve_key(struct session *session, int key)
{
	struct frame *frame = &session->frame;
	static const char views[] = "npksmt";
	const char *view = key > 0 && key < 128 ? strchr(views, key) : NULL;

	if (view)
		choose_view(session, (unsigned)(view - views));
	switch (key) {
	case 'q': session->leave = true; break;
	case 'h': case '?': frame->help = !frame->help; return;
	case '\t': choose_view(session, frame->view + 1u); break;
	case KEY_BTAB: choose_view(session, frame->view + VIEW_COUNT - 1u); break;
	case '<': move_sort(session, -1); break;
	case '>': move_sort(session, 1); break;
	case 'r': frame->reverse[frame->view] = !frame->reverse[frame->view]; break;
	case '/': frame->typing = true; break;
	case 27: frame->filter[0] = '\0'; break;
	case '+': change_interval(session, true); break;
	case '-': change_interval(session, false); break;
	case ' ': frame->paused = !frame->paused; break;
	default: serve_movement(session, key); break;
	}
	frame->help = false;
}

/* ---- The terminal ---- */

/* Looks from LOOK_BAR on have a colour; where there is none, the most urgent stand out all the same. */
static bool coloured(void)
{
	return has_colors() && !getenv("NO_COLOR");
}

static attr_t attribute(enum look look)
{
	static const attr_t plain[LOOK_COUNT] = {
		[LOOK_BOLD] = A_BOLD, [LOOK_DIM] = A_DIM, [LOOK_TITLE] = A_REVERSE, [LOOK_WARN] = A_BOLD,
		[LOOK_BAD] = A_BOLD | A_REVERSE,
	};

	return look < LOOK_BAR || !coloured() ? plain[look] : look == LOOK_BAD ? A_BOLD : A_NORMAL;
}

static void start_colors(void)
{
	if (!coloured())
		return;
	start_color();
	use_default_colors();
	init_pair(LOOK_BAR, COLOR_CYAN, -1);
	init_pair(LOOK_BAR_LIGHT, COLOR_BLUE, -1);
	init_pair(LOOK_WARN, COLOR_YELLOW, -1);
	init_pair(LOOK_BAD, COLOR_RED, -1);
}

/* curses itself finds out what differs from the screen. */
static void show_canvas(const struct canvas *canvas)
{
	erase();
	for (int row = 0; row < canvas->rows; row++)
		for (int column = 0; column < canvas->columns; column++) {
			const struct cell *cell = &canvas->cells[row * canvas->columns + column];
			wchar_t text[2] = { cell->c, 0 };
			cchar_t shown;
			short pair = (short)(cell->look >= LOOK_BAR && coloured() ? cell->look : 0);
			if (cell->c && setcchar(&shown, text, attribute(cell->look), pair, NULL) == OK)
				mvadd_wch(row, column, &shown);
		}
	refresh();
}

static bool fit_terminal(struct session *session)
{
	int rows, columns;

	getmaxyx(stdscr, rows, columns);
	if (rows == session->canvas.rows && columns == session->canvas.columns)
		return true;
	return canvas_resize(&session->canvas, rows > 0 ? rows : 1, columns > 0 ? columns : 1);
}

/* One round: a look if it is due, the picture, and a key if one comes before the next look is due. */
static bool serve_terminal(struct session *session)
{
	uint64_t now_ms = steady_clock_ms();

	if (now_ms >= session->next_ms) {
		if (!session->frame.paused)
			top_look(&session->top);
		session->next_ms = now_ms + (uint64_t)session->frame.interval_ms;
	}
	if (!fit_terminal(session) || !draw(session))
		return false;
	show_canvas(&session->canvas);
	now_ms = steady_clock_ms();
	timeout(session->next_ms > now_ms ? (int)(session->next_ms - now_ms) : 0);
	int key = getch();
	if (key != ERR && key != KEY_RESIZE)
		(session->frame.typing ? type_filter : serve_key)(session, key);
	return true;
}

static int run_terminal(struct session *session)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);
	int code = TOOL_OK;

	if (!screen) {
		complain("the terminal '%s' is unknown here; set TERM, or use --once",
				getenv("TERM") ? getenv("TERM") : "");
		return TOOL_FAILED;
	}
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	start_colors();
	while (!session->leave)
		if (!serve_terminal(session)) {
			code = TOOL_FAILED;
			break;
		}
	endwin();
	delscreen(screen);
	return code;
}

/* ---- The command ---- */

static void size_of_print(struct session *session, const char *size)
{
	int rows = 24, columns = 80, end = 0;
	struct winsize window;

	if (size &&
			(sscanf(size, "%dx%d%n", &columns, &rows, &end) != 2 || size[end] || rows < 1 || columns < 1 ||
					rows > 1000 || columns > 1000))
		usage_error("size '%s': say COLUMNSxROWS, as in 80x24, up to 1000x1000", size);
	if (!size && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) && window.ws_row && window.ws_col) {
		rows = window.ws_row;
		columns = window.ws_col;
	}
	if (!canvas_resize(&session->canvas, rows, columns))
		usage_error("no memory for %d rows of %d columns", rows, columns);
}

static enum top_view view_argument(const char *text)
{
	for (unsigned i = 0; i < VIEW_COUNT; i++)
		if (!strncmp(view_name((enum top_view)i), text, strlen(text)) && *text)
			return (enum top_view)i;
	usage_error("view '%s': there are namespaces, participants, keys, stores, memory and tiers", text);
}

static void interval_argument(struct frame *frame, const char *text)
{
	frame->interval_ms = duration_argument("interval", text);
	if (frame->interval_ms < INTERVAL_MIN_MS || frame->interval_ms > INTERVAL_MAX_MS)
		usage_error("interval '%s' is out of range: 100ms to 1m", text);
}

static void begin(struct session *session)
{
	session->frame.interval_ms = 1000;
	for (unsigned i = 0; i < VIEW_COUNT; i++)
		session->frame.sort[i] = view_sort_column((enum top_view)i);
	setlocale(LC_CTYPE, "");
	session->canvas.unicode = !strcmp(nl_langinfo(CODESET), "UTF-8");
}

static void apply(struct session *session, int option)
{
	struct frame *frame = &session->frame;

	if (option == 'd')
		interval_argument(frame, optarg);
	else if (option == 'v')
		frame->view = view_argument(optarg);
	else if (option == 'f')
		snprintf(frame->filter, sizeof frame->filter, "%s", optarg);
	else if (option == ASCII)
		session->canvas.unicode = false;
}

static int run(int argc, char **argv)
{
	static struct session session;
	bool batch = false;
	uint64_t count = 0;
	const char *size = NULL;
	int option;

	begin(&session);
	while ((option = option_next(argc, argv, ":hd:bn:v:f:", longs)) != -1) {
		apply(&session, option);
		batch |= option == 'b' || option == ONCE || option == 'n';
		count = option == ONCE ? 1 : option == 'n' ? version_argument("count", optarg) : count;
		size = option == SIZE ? optarg : size;
	}
	operands_expect(argc, argv, 1, 1);
	session.top.follow.name = argv[optind];
	size_of_print(&session, size);
	if (!batch && (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)))
		usage_error("standard input and output are no terminal: use --once or --batch");
	int code = batch ? print_frames(&session, count) : run_terminal(&session);
	top_end(&session.top);
	canvas_free(&session.canvas);
	return code;
}

const struct command cmd_top = {
	.name = "top",
	.summary = "Shows a cache live: rates, durations, memory, who uses it",
	.synopsis = "[OPTION ...] CACHE",
	.options = "  -d, --interval DURATION  look so often (default: 1s; 100ms to 1m)\n"
		"  -v, --view VIEW          begin with namespaces, participants, keys, stores, memory or tiers\n"
		"  -f, --filter TEXT        only rows whose last column has this in it, or matches it as a glob\n"
		"  -b, --batch              print frames one after the other\n"
		"  -n, --count COUNT        print so many frames and end\n"
		"      --once               print one frame: the same as --count 1\n"
		"      --size COLUMNSxROWS  of a printed frame (default: of the terminal, else 80x24)\n"
		"      --ascii              draw graphs with ASCII characters\n"
		HELP_HELP "\nKeys: q leaves, ? lists the others.\n",
	.run = run,
};
