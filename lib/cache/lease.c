/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking leases, setting by them, ending them, waiting for them.  See lease.h; edges: those of every set, and WAKE. */
#include "cache/lease.h"

#include "base/chance.h"
#include "base/event.h"

#define SLICE_NS 10000000 /* a holder's death is seen after this long at most */
#define LOOKS_MAX 1000u
#define BETA_MAX 1000.0

static int64_t now_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct word *waiters_of(const struct region *r, const struct key *k)
{
	return &region_waits(r)[k->hash >> 32 & (r->geo.wait_lines - 1)].event[k->hash >> 16 & 7];
}

/* ---- Who holds it ------------------------------------------------------------------------------------------------------- */

/* The kernel's word on the owner's slot, and the slot's on whose it is. */
static bool owner_lives(struct region *r, uint64_t owner)
{
	uint32_t slot = owner & 0xffff;
	uint64_t registration = owner >> 16;
	if (slot >= r->geo.participants || load_acquire(&region_participant(r, slot)->registration) != registration)
		return false;
	return participant_alive(r, slot) && load_acquire(&region_participant(r, slot)->registration) == registration;
}

/* The entry, which is not gone by flush or tag, carries a lease that counts for a set. */
static bool lease_stands(const struct region *r, const struct entry *e)
{
	return e->extras & EXTRA_LEASE && !moment_passed(r, entry_lease(e).end)
			&& generation_sees(namespace_generation(r, entry_namespace(e)), entry_generation(e)) == VISIBLE;
}

static bool lease_held(struct region *r, const struct entry *e)
{
	return lease_stands(r, e) && owner_lives(r, entry_lease(e).owner);
}

/* ---- Taking -------------------------------------------------------------------------------------------------------------- */

struct take {
	const struct larder_lease_options *options;
	struct tags tags;
	double luck;
	uint64_t token;
	bool over; /* it was another one's, who is dead or late */
	char digits[24];
};

double lease_early_ms(uint32_t cost_us, double beta, double luck) { return cost_us / 1000.0 * beta * chance_minus_log(luck); }

static bool worth_refreshing(const struct region *r, const struct entry *e, const struct take *t)
{
	uint64_t expiry = entry_expiry(e);
	if (t->options->beta <= 0 || entry_cost(e) == 0 || expiry == 0)
		return false;
	double left_ms = (double)expiry - (double)moment_precise(r);
	return left_ms <= lease_early_ms(entry_cost(e), t->options->beta, t->luck);
}

/* The tags of the options, and what the value there has besides; false if these are too many. */
static bool tags_join(struct draft *d, const struct take *t, const struct entry *old)
{
	struct tags had = entry_tags(old);
	unsigned n = t->options->tag_count;
	d->tags = t->tags;
	for (unsigned i = 0; i < extras_tags(old->extras); i++) {
		bool known = false;
		for (unsigned k = 0; k < n; k++)
			known |= d->tags.number[k] == had.number[i];
		if (!known && n == TAGS_MAX)
			return false;
		if (!known)
			d->tags.number[n++] = had.number[i];
	}
	d->extras = (d->extras & ~EXTRA_TAGS) | (uint64_t)n << EXTRA_TAGS_SHIFT;
	return true;
}

static void take_empty(struct put *put, const struct take *t, uint64_t now)
{
	struct draft *d = &put->draft;
	uint64_t clock = d->tags.clock;
	d->tags = t->tags;
	d->tags.clock = clock;
	d->extras = EXTRA_LEASE | EXTRA_EMPTY | (uint64_t)t->options->tag_count << EXTRA_TAGS_SHIFT;
	d->value = NULL;
	d->value_bytes = 0;
	d->fields = 0;
	d->expiry = d->lease.end;
	d->created = now;
	d->stamp = t->token;
}

/* Keeps the value for those who read meanwhile, with its own version and times; it is copied from where it is held. */
static bool take_with_value(struct put *put, struct take *t, const struct entry *old)
{
	struct draft *d = &put->draft;
	uint64_t clock = d->tags.clock;
	bool stale = old->extras & EXTRA_WAS_STALE || entry_generation(old) != put->generation;
	bool counter = entry_is_counter(old);
	if (put->life == LIFE_LEASED || (counter && put->life == LIFE_LIVE))
		return false;
	draft_inherit(d, old);
	if (!tags_join(d, t, old))
		return false;
	d->tags.clock = clock;
	d->extras |= EXTRA_LEASE | (stale ? EXTRA_WAS_STALE : 0);
	d->value = old->value;
	d->value_bytes = old->value_bytes;
	d->fields = head_fields(old->head) & (FIELD_KIND | FIELD_ALIGNED);
	if (counter) { /* nobody increments a stale one: what it reads as */
		d->value = t->digits;
		d->value_bytes = cell_format(load_acquire(entry_cell(old)), t->digits);
		d->fields = 0;
	}
	d->expiry = entry_expiry(old);
	d->created = entry_created(old);
	d->stamp = entry_stamp(old);
	return true;
}

/* ANSWER: LARDER_EXISTS, somebody holds it; LARDER_CHANGED, there is a fresh value or none is known to exist. */
static enum put_next decide_take(struct actor *a, struct put *put, const struct found *f)
{
	struct take *t = put->arg;
	struct region *r = a->region;
	put->answer = LARDER_CHANGED;
	t->over = false;
	if (f != NULL && (put->life == LIFE_ABSENT || (put->life == LIFE_LIVE && !worth_refreshing(r, &f->entry, t))))
		return PUT_ANSWER;
	put->answer = LARDER_EXISTS;
	if (f != NULL && lease_held(r, &f->entry))
		return PUT_ANSWER;
	uint64_t now = moment_precise(r);
	t->over = f != NULL && f->entry.extras & EXTRA_LEASE;
	t->token = put_stamp(a, now);
	put->draft.lease = (struct lease){ .owner = lease_owner(a->slot, actor_worker(a)->registration), .token = t->token,
		.clock = put->draft.tags.clock, .end = now + (uint64_t)t->options->hold_ms };
	if (f == NULL || !take_with_value(put, t, &f->entry))
		take_empty(put, t, now);
	return PUT_WRITE;
}

/* LARDER_OK: taken. */
static enum larder_status lease_take(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, struct take *t)
{
	struct actor *a;
	struct put put = { .decide = decide_take, .arg = t, .raw = true, .own_times = true, .lease = true, .fresh_tags = true };
	enum larder_status status = write_begin(cache, ns, key, key_bytes, LARDER_TTL_DEFAULT, &a, &put);
	if (status != LARDER_OK)
		return status;
	put.draft.extras = extras_of_tags(&cache->region, t->options->tags, t->options->tag_count, &t->tags);
	put.draft.tags = t->tags;
	status = put_run(a, &put);
	if (status == LARDER_OK) {
		count(a, leases, 1);
		count(a, leases_taken_over, t->over);
		if (put.draft.fields & FIELD_KIND)
			put.replaced = (struct chunks){ 0 }; /* the pieces have a manifest as before */
	}
	return write_end(cache, a, &put, status);
}

static enum larder_status options_fill(struct larder_lease_options *to, const struct larder_lease_options *from)
{
	if (from != NULL && from->size != sizeof *from)
		return LARDER_INVALID;
	if (from != NULL)
		*to = *from;
	if (to->hold_ms == 0)
		to->hold_ms = LARDER_HOLD_DEFAULT_MS;
	if (to->hold_ms < 1 || to->hold_ms > LARDER_HOLD_MAX_MS || !(to->beta >= 0 && to->beta <= BETA_MAX)
			|| to->flags & ~(uint32_t)(LARDER_ALLOW_STALE | LARDER_NO_COUNT) || !tags_valid(to->tags, to->tag_count))
		return LARDER_INVALID;
	return LARDER_OK;
}

/* From 0 (not quite) to 1, another one for each call. */
static double draw(void)
{
	static _Thread_local uint64_t calls;
	uint64_t seed[3] = { (uint64_t)now_ns(), ++calls, (uint64_t)(uintptr_t)&calls };
	return (double)((hash_bytes(seed, sizeof seed, 0) >> 12) + 1) / (double)(UINT64_C(1) << 52);
}

/* A get says that there is nothing to compute. */
static bool settled(struct take *t, enum larder_status status, const struct larder_meta *meta)
{
	if (status != LARDER_OK)
		return status != LARDER_MISS && status != LARDER_STALE;
	if (t->options->beta <= 0 || meta->cost_us == 0 || meta->ttl_left_ms == LARDER_TTL_NONE)
		return true;
	if (t->luck == 0)
		t->luck = draw();
	return (double)meta->ttl_left_ms > lease_early_ms(meta->cost_us, t->options->beta, t->luck);
}

enum larder_status larder_lease(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes,
		const struct larder_lease_options *options, void *buffer, size_t capacity, size_t *length, struct larder_lease *lease)
{
	struct larder_lease_options o = LARDER_LEASE_OPTIONS_INIT;
	struct take t = { .options = &o };
	if (lease == NULL)
		return LARDER_INVALID;
	*lease = (struct larder_lease){ 0 };
	if (options_fill(&o, options) != LARDER_OK)
		return LARDER_INVALID;
	if (cache != NULL && cache->crew == NULL)
		return LARDER_READ_ONLY;
	uint32_t flags = o.flags;
	for (unsigned look = 0; look < LOOKS_MAX; look++) { /* progress: CHANGED, somebody set the key after our get */
		*lease = (struct larder_lease){ 0 };
		enum larder_status found = larder_get_with(cache, ns, key, key_bytes, buffer, capacity, length, flags, &lease->meta);
		flags |= LARDER_NO_COUNT;
		if (settled(&t, found, &lease->meta))
			return found;
		enum larder_status taken = lease_take(cache, ns, key, key_bytes, &t);
		lease->held = taken == LARDER_OK;
		lease->token = lease->held ? t.token : 0;
		if (taken == LARDER_OK || taken == LARDER_EXISTS || found == LARDER_OK)
			return found;
		if (taken != LARDER_CHANGED)
			return found == LARDER_STALE ? found : taken;
	}
	return LARDER_CONTENDED;
}

/* ---- Setting and ending ------------------------------------------------------------------------------------------------------ */

static bool lease_is(const struct region *r, const struct found *f, uint64_t token)
{
	return f != NULL && token != 0 && lease_stands(r, &f->entry) && entry_lease(&f->entry).token == token;
}

static enum put_next decide_set(struct actor *a, struct put *put, const struct found *f)
{
	struct draft *d = &put->draft;
	put->answer = LARDER_CHANGED;
	if (!lease_is(a->region, f, put->version))
		return PUT_ANSWER;
	unsigned tags = extras_tags(d->extras);
	d->tags.clock = entry_lease(&f->entry).clock; /* what was invalidated since is not good, whichever tag it was */
	if (tags_below(a->region, d->tags.number, tags, d->tags.clock))
		return PUT_WRITE;
	(void)tag_clock_for(a, d->tags.number, tags); /* of a dead process's invalidation, too, the next lease must see the end */
	return PUT_ANSWER;
}

enum larder_status larder_lease_set(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, const void *value,
		size_t value_bytes, const struct larder_set_options *options, uint64_t token, struct larder_result *result)
{
	struct put put;
	enum larder_status status = put_options(cache, options, &put);
	if (status != LARDER_OK || put.mode != LARDER_SET)
		return status != LARDER_OK ? status : LARDER_INVALID;
	put.decide = decide_set;
	put.raw = true;
	put.version = token;
	status = set_call(cache, ns, key, key_bytes, value, value_bytes, &put);
	if (status == LARDER_OK)
		event_raise(waiters_of(&cache->region, &put.key));
	if (result != NULL)
		*result = put.result;
	return status;
}

/* The entry as it was before the lease, as far as the lease kept it. */
static enum put_next decide_release(struct actor *a, struct put *put, const struct found *f)
{
	struct draft *d = &put->draft;
	put->answer = LARDER_CHANGED;
	if (!lease_is(a->region, f, put->version))
		return PUT_ANSWER;
	put->answer = LARDER_OK;
	if (put->life == LIFE_LEASED)
		return PUT_REMOVE;
	draft_inherit(d, &f->entry);
	d->extras |= f->entry.extras & EXTRA_WAS_STALE;
	d->value = f->entry.value;
	d->value_bytes = f->entry.value_bytes;
	d->fields = head_fields(f->entry.head) & (FIELD_KIND | FIELD_ALIGNED);
	d->expiry = entry_expiry(&f->entry);
	d->created = entry_created(&f->entry);
	d->stamp = entry_stamp(&f->entry);
	return PUT_WRITE;
}

enum larder_status larder_lease_release(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, uint64_t token)
{
	struct actor *a;
	struct put put = { .decide = decide_release, .raw = true, .own_times = true, .lease = true, .version = token };
	enum larder_status status = write_begin(cache, ns, key, key_bytes, LARDER_TTL_DEFAULT, &a, &put);
	if (status != LARDER_OK)
		return status;
	status = put_run(a, &put);
	count(a, leases_released, status == LARDER_OK && put.draft.key_bytes != 0);
	if (put.draft.fields & FIELD_KIND)
		put.replaced = (struct chunks){ 0 };
	status = write_end(cache, a, &put, status);
	if (status == LARDER_OK)
		event_raise(waiters_of(&cache->region, &put.key));
	return status;
}

/* ---- Waiting ------------------------------------------------------------------------------------------------------------------- */

static enum larder_status look_held(struct larder *cache, const struct key *k, bool *held)
{
	struct actor *a;
	struct found f;
	enum larder_status status = call_begin(cache, &a);
	if (status != LARDER_OK)
		return status;
	enum search s = index_find(a, k, &f);
	*held = s == SEARCH_FOUND && !life_is_over(entry_life(a->region, &f.entry)) && lease_held(a->region, &f.entry);
	if (s == SEARCH_AGAIN)
		status = contended(a);
	hazard_clear(a, HAZARD_READ);
	call_end(a);
	return call_answer(&cache->region, status);
}

enum larder_status larder_lease_wait(struct larder *cache, uint32_t ns, const void *key, size_t key_bytes, int64_t timeout_ms)
{
	enum larder_status status = key_check(cache, ns, key, key_bytes);
	if (status == LARDER_OK && (timeout_ms < 0 || timeout_ms > LARDER_HOLD_MAX_MS))
		status = LARDER_INVALID;
	if (status != LARDER_OK)
		return status;
	struct key k = key_make(&cache->region, key, key_bytes, ns, false);
	struct word *waiters = waiters_of(&cache->region, &k);
	int64_t end = now_ns() + timeout_ms * 1000000;
	for (;;) { /* ends by time; an event is another one's lease that ended */
		bool held = false;
		uint32_t seen = cache->crew != NULL ? event_look(waiters) : 0;
		status = look_held(cache, &k, &held);
		if (status != LARDER_OK || !held)
			return status;
		int64_t left = end - now_ns();
		if (left <= 0)
			return LARDER_TIMEOUT;
		event_sleep(waiters, seen, left < SLICE_NS ? left : SLICE_NS);
	}
}
