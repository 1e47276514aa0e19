/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries in private memory: what is written is what is read, for every combination of fields, and nothing past the end. */
#include "kit.h"

static unsigned char *arena; /* the first segment, which nobody uses */

static void open_roomy(void)
{
	struct larder_options o = kit_options(UINT64_C(16) << 20, 0);
	kit_open_with(&o);
	arena = (unsigned char *)region_entry(&cache->region, 0);
}

TestSuite(entry, .init = open_roomy, .fini = kit_close);

static struct draft some_draft(uint32_t fields, uint32_t key_bytes, uint32_t value_bytes)
{
	static unsigned char key[4096], value[8192];
	pattern(key, sizeof key, 1);
	pattern(value, sizeof value, 2);
	return (struct draft){ .key = key, .key_bytes = key_bytes, .value = value, .value_bytes = value_bytes, .fields = fields,
		.ns = 7, .generation = 0x89abcdef, .extras = 0xfeedbeef, .stamp = UINT64_C(0x123456789abc) << 16 | 0x4321,
		.created = UINT64_C(0x98765) << 16 | 0x4321, .expiry = UINT64_C(0xabcdef0123) };
}

static void assert_reads_as(const struct entry *e, const struct draft *d)
{
	uint32_t f = d->fields;
	cr_assert_eq(e->key_bytes, d->key_bytes);
	cr_assert_eq(e->value_bytes, d->value_bytes);
	cr_assert_eq(memcmp(e->key, d->key, d->key_bytes), 0);
	cr_assert_eq(memcmp(e->value, d->value, d->value_bytes), 0);
	cr_assert_eq(entry_expiry(e), f & FIELD_EXPIRES ? d->expiry : 0);
	cr_assert_eq(entry_stamp(e), f & FIELD_STAMP ? d->stamp : 0);
	cr_assert_eq(entry_created(e), f & FIELD_STAMP ? d->created : 0);
	cr_assert_eq(entry_namespace(e), f & FIELD_NAMESPACE ? d->ns : 0);
	cr_assert_eq(entry_generation(e), f & FIELD_NAMESPACE ? d->generation : 0);
	cr_assert_eq(entry_user_flags(e), f & FIELD_EXTRAS ? (uint32_t)d->extras : 0);
	cr_assert_eq(e->extras, f & FIELD_EXTRAS ? d->extras : 0);
	cr_assert(entry_checksum_good(e));
	cr_assert((uintptr_t)e->value % 8 == 0 || !(f & FIELD_ALIGNED));
}

Test(entry, every_combination_of_fields_reads_back_what_was_written)
{
	const struct region *r = &cache->region;
	for (uint32_t fields = 0; fields < 64; fields++)
		for (uint32_t key_bytes = 1; key_bytes < 20; key_bytes += 3)
			for (uint32_t value_bytes = 0; value_bytes < 40; value_bytes += 7) {
				struct draft d = some_draft(fields, key_bytes, value_bytes);
				struct entry e;
				memset(arena, 0xa5, 512);
				uint64_t head = entry_write(region_entry(r, 0), &d, 8);
				cr_assert(entry_open_head(&e, r, 0, head));
				assert_reads_as(&e, &d);
				cr_assert_eq(e.units, draft_units(&d));
				cr_assert_eq(arena[e.units * UNIT_BYTES], 0xa5, "fields %u: written past its units", fields);
			}
}

static void add_extras(struct draft *d, uint64_t extras)
{
	d->extras |= extras;
	d->grace_ms = 4000000000;
	d->cost_us = 123456;
	d->lease = (struct lease){ .owner = lease_owner(1023, 77), .token = UINT64_C(0x1122334455667788), .clock = 77, .end = UINT64_C(0xabcdef9999) };
	d->tags = (struct tags){ .clock = 99, .number = { 1, 65535, 3, 4 } };
}

Test(entry, every_combination_of_extras_reads_back_what_was_written)
{
	const struct region *r = &cache->region;
	for (uint32_t fields = FIELD_EXTRAS; fields < 64; fields = (fields + 1) | FIELD_EXTRAS)
		for (uint64_t extras = 0; extras <= EXTRAS_KNOWN >> 32; extras++) {
			struct draft d = some_draft(fields, 13, 21);
			struct entry e;
			if (!extras_sound(extras << 32))
				continue;
			add_extras(&d, extras << 32);
			memset(arena, 0xa5, 512);
			cr_assert(entry_open_head(&e, r, 0, entry_write(region_entry(r, 0), &d, 8)));
			assert_reads_as(&e, &d);
			cr_assert_eq(e.units, draft_units(&d));
			cr_assert_eq(arena[e.units * UNIT_BYTES], 0xa5, "fields %u: written past its units", fields);
			cr_assert_eq(entry_grace(&e), d.extras & EXTRA_REFRESH ? d.grace_ms : 0);
			cr_assert_eq(entry_cost(&e), d.extras & EXTRA_REFRESH ? d.cost_us : 0);
			struct lease lease = entry_lease(&e), none = { 0 };
			cr_assert_eq(memcmp(&lease, d.extras & EXTRA_LEASE ? &d.lease : &none, sizeof lease), 0);
			struct tags tags = entry_tags(&e), untagged = { 0 };
			cr_assert_eq(memcmp(&tags, d.extras & EXTRA_TAGS ? &d.tags : &untagged, sizeof tags), 0);
			if (fields & FIELD_EXPIRES)
				cr_assert_eq(entry_end(&e), draft_end(&d));
		}
}

Test(entry, its_end_is_that_of_its_grace_or_of_its_lease)
{
	const struct region *r = &cache->region;
	struct draft d = { .key = "k", .key_bytes = 1, .fields = FIELD_EXTRAS | FIELD_EXPIRES, .extras = EXTRA_REFRESH | EXTRA_LEASE, .expiry = 1000,
		.grace_ms = 500, .lease = { .end = 1400 } };
	struct entry e;
	cr_assert(entry_open_head(&e, r, 0, entry_write(region_entry(r, 0), &d, 0)));
	cr_assert_eq(entry_end(&e), 1500);
	d.lease.end = 1600;
	cr_assert(entry_open_head(&e, r, 0, entry_write(region_entry(r, 0), &d, 0)));
	cr_assert_eq(entry_end(&e), 1600);
	d.extras = 7;
	cr_assert(entry_open_head(&e, r, 0, entry_write(region_entry(r, 0), &d, 0)));
	cr_assert_eq(entry_end(&e), 1000);
}

Test(entry, extras_past_the_segment_or_unknown_are_refused)
{
	const struct region *r = &cache->region;
	struct entry e;
	uint64_t units = geo_units(&r->geo), head = head_make(0, ENTRY_COMMITTED, FIELD_EXTRAS, 1, 0);
	memset(arena + (units - 4) * UNIT_BYTES, 0, 4 * UNIT_BYTES);
	cr_assert(entry_open_head(&e, r, units - 3, head));
	cr_assert_not(entry_open_head(&e, r, units - 2, head), "the key lies behind the end");
	cr_assert_not(entry_open_head(&e, r, units - 1, head), "the extras word itself does");
	bytes_store64(arena + (units - 2) * UNIT_BYTES, UINT64_C(1) << 41);
	cr_assert_not(entry_open_head(&e, r, units - 3, head), "a bit that nobody knows");
	bytes_store64(arena + (units - 2) * UNIT_BYTES, UINT64_C(5) << EXTRA_TAGS_SHIFT);
	cr_assert_not(entry_open_head(&e, r, units - 3, head), "five tags");
	bytes_store64(arena + (units - 2) * UNIT_BYTES, EXTRA_LEASE);
	cr_assert_not(entry_open_head(&e, r, units - 3, head), "the lease lies behind the end");
}

Test(entry, what_takes_its_place_keeps_flags_and_tags_but_no_lease)
{
	const struct region *r = &cache->region;
	struct draft d = some_draft(63, 9, 30), heir = { 0 };
	struct entry e;
	add_extras(&d, EXTRA_REFRESH | EXTRA_LEASE | EXTRA_WAS_STALE | UINT64_C(2) << EXTRA_TAGS_SHIFT);
	cr_assert(entry_open_head(&e, r, 0, entry_write(region_entry(r, 0), &d, 0)));
	draft_inherit(&heir, &e);
	cr_assert_eq(heir.extras, 0xfeedbeef | EXTRA_REFRESH | UINT64_C(2) << EXTRA_TAGS_SHIFT);
	cr_assert(heir.grace_ms == d.grace_ms && heir.cost_us == d.cost_us && memcmp(&heir.tags, &d.tags, sizeof d.tags) == 0);
}

Test(entry, the_largest_key_and_its_value_read_back)
{
	const struct region *r = &cache->region;
	struct draft d = some_draft(63, 4096, 8192);
	struct entry e;
	cr_assert(entry_open_head(&e, r, 0, entry_write(region_entry(r, 0), &d, 0)));
	assert_reads_as(&e, &d);
}

Test(entry, a_value_in_two_pieces_is_one_value)
{
	const struct region *r = &cache->region;
	struct draft d = some_draft(FIELD_CHECKSUM, 3, 10);
	struct entry e;
	d.tail = "tail";
	d.tail_bytes = 4;
	cr_assert(entry_open_head(&e, r, 0, entry_write(region_entry(r, 0), &d, 0)));
	cr_assert_eq(memcmp(e.value, d.value, 6), 0);
	cr_assert_eq(memcmp(e.value + 6, "tail", 4), 0);
	cr_assert(entry_checksum_good(&e));
}

Test(entry, a_head_that_reaches_past_the_segment_is_refused)
{
	const struct region *r = &cache->region;
	struct entry e;
	uint64_t units = geo_units(&r->geo), fits = head_make(0, ENTRY_COMMITTED, 0, 8, 16);
	cr_assert(entry_open_head(&e, r, units - 4, fits));
	cr_assert_not(entry_open_head(&e, r, units - 3, fits));
	cr_assert_not(entry_open_head(&e, r, 0, UINT64_MAX));
	cr_assert_not(entry_open_head(&e, r, 0, head_make(0, ENTRY_COMMITTED, 0, 1, (1u << HEAD_VALUE_BITS) - 1)));
}

Test(entry, the_parts_of_a_head_do_not_touch_each_other)
{
	uint64_t head = head_make(0xffff, ENTRY_COMMITTED, 0x55, 4096, 0x2aaaaaa);
	cr_assert_eq(head_reuse(head), 0xffff);
	cr_assert_eq(head_status(head), ENTRY_COMMITTED);
	cr_assert_eq(head_fields(head), 0x55);
	cr_assert_eq(head_key_bytes(head), 4096);
	cr_assert_eq(head_value_bytes(head), 0x2aaaaaa);
	uint64_t aborted = head_with_status(head, ENTRY_ABORTED);
	cr_assert_eq(head_status(aborted), ENTRY_ABORTED);
	cr_assert_eq(head_with_status(aborted, ENTRY_COMMITTED), head);
	cr_assert_eq(head_key_bytes(head_make(0, ENTRY_UNBORN, 0, 1, 0)), 1);
}

Test(entry, a_checksum_notices_each_bit_of_key_value_and_fields)
{
	const struct region *r = &cache->region;
	struct draft d = some_draft(FIELD_CHECKSUM | FIELD_STAMP | FIELD_EXPIRES | FIELD_NAMESPACE | FIELD_EXTRAS, 9, 30);
	add_extras(&d, EXTRA_REFRESH | EXTRA_LEASE | UINT64_C(3) << EXTRA_TAGS_SHIFT);
	struct entry e;
	cr_assert(entry_open_head(&e, r, 0, entry_write(region_entry(r, 0), &d, 0)));
	uint32_t end = (uint32_t)(e.value + e.value_bytes - arena);
	for (uint32_t bit = 64; bit < end * 8; bit++) {
		arena[bit / 8] ^= (unsigned char)(1 << bit % 8);
		cr_assert_not(entry_checksum_good(&e), "bit %u of byte %u", bit % 8, bit / 8);
		arena[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	cr_assert(entry_checksum_good(&e));
}

Test(entry, a_checksum_of_a_counter_covers_all_but_its_cell)
{
	const struct region *r = &cache->region;
	uint64_t cell = cell_make(5);
	struct draft d = { .key = "k", .key_bytes = 1, .value = &cell, .value_bytes = 8, .fields = KIND_COUNTER | FIELD_ALIGNED | FIELD_CHECKSUM };
	struct entry e;
	cr_assert(entry_open_head(&e, r, 0, entry_write(region_entry(r, 0), &d, 0)));
	cr_assert(entry_is_counter(&e));
	store_hint(entry_cell(&e), cell_make(6));
	cr_assert(entry_checksum_good(&e));
	((unsigned char *)(uintptr_t)e.key)[0] ^= 1;
	cr_assert_not(entry_checksum_good(&e));
}

Test(entry, only_eight_aligned_bytes_are_a_counter)
{
	struct entry e = { .head = head_make(0, ENTRY_COMMITTED, KIND_COUNTER | FIELD_ALIGNED, 1, 8), .value_bytes = 8 };
	cr_assert(entry_is_counter(&e));
	e.value_bytes = 7;
	cr_assert_not(entry_is_counter(&e));
	e.value_bytes = 8;
	e.head = head_make(0, ENTRY_COMMITTED, KIND_COUNTER, 1, 8);
	cr_assert_not(entry_is_counter(&e));
	e.head = head_make(0, ENTRY_COMMITTED, KIND_MANIFEST | FIELD_ALIGNED, 1, 8);
	cr_assert_not(entry_is_counter(&e));
}

Test(entry, a_cell_keeps_every_number_in_its_range_and_stays_frozen)
{
	const int64_t numbers[] = { 0, 1, -1, 42, LARDER_COUNTER_MAX, LARDER_COUNTER_MIN };
	for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		struct word cell;
		char digits[24], wanted[24];
		store_hint(&cell, cell_make(numbers[i]));
		cr_assert_eq(cell_number(load_hint(&cell)), numbers[i]);
		cr_assert_eq(cell_number(cell_freeze(&cell)), numbers[i]);
		cr_assert(load_hint(&cell) & CELL_FROZEN);
		cr_assert_eq(cell_number(load_hint(&cell)), numbers[i], "a frozen cell still reads");
		cr_assert_eq(cell_freeze(&cell), cell_make(numbers[i]), "freezing twice is freezing");
		uint32_t n = cell_format(load_hint(&cell), digits);
		(void)snprintf(wanted, sizeof wanted, "%lld", (long long)numbers[i]);
		cr_assert(n == strlen(wanted) && strcmp(digits, wanted) == 0, "%s", digits);
	}
}
