/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything that lies in the shared segment: every struct, every word, drawn and asserted.  No logic but the packing
 * of words and the arithmetic of places.  Offsets only: the segment is mapped anywhere, by anybody.
 *
 *   superblock | participants | namespaces | instruments | segment words | segment descriptors | start bitmaps | ghosts | index | arena
 *
 * The arena is an array of segments of 2^segment_shift bytes.  A UNIT is 8 bytes of it; a PLACE is the number of a
 * unit, counted from the arena's first, where an entry begins (or could).  Segment of a place: place >> unit shift.
 *
 * What a process reads here was written by strangers.  The geometry is copied to private memory at attach and all else
 * is checked against that copy (G6).
 */
#ifndef LARDER_SHM_LAYOUT_H
#define LARDER_SHM_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/sync.h"

#define LAYOUT_MAGIC "larder\r\n"
/* Two builds that differ in anything here, or in where a key is looked for, must not share a segment: tests/unit/test_layout.c
 * fails when one of these things changes under an old number. */
#define LAYOUT_VERSION 7u

#define LINE_BYTES 64u
#define UNIT_SHIFT 3u
#define UNIT_BYTES (1u << UNIT_SHIFT)
#define PAGE_ALIGN 4096u

/* ---- Slot word: which entry a key has ------------------------------------------------------------------------------
 *
 *    63        48 47                                  12 11         0
 *   +------------+--------------------------------------+------------+
 *   |    tag     |                place                 | incarnation|      0: empty
 *   +------------+--------------------------------------+------------+
 *
 * tag: bits of the key's hash, never 0.  place: 36 bits of units, 512 GiB.  incarnation: low bits of the segment's. */
#define SLOT_INC_BITS 12u
#define SLOT_PLACE_BITS 36u
#define SLOT_TAG_SHIFT (SLOT_INC_BITS + SLOT_PLACE_BITS)
#define SLOT_EMPTY UINT64_C(0)
_Static_assert(SLOT_TAG_SHIFT + 16 == 64, "tag, place and incarnation fill the slot word");

static inline uint64_t slot_word(uint64_t tag, uint64_t place, uint64_t inc)
{
	return tag << SLOT_TAG_SHIFT | place << SLOT_INC_BITS | (inc & ((1u << SLOT_INC_BITS) - 1));
}
static inline uint64_t slot_tag(uint64_t slot) { return slot >> SLOT_TAG_SHIFT; }
static inline uint64_t slot_place(uint64_t slot) { return slot >> SLOT_INC_BITS & ((UINT64_C(1) << SLOT_PLACE_BITS) - 1); }
static inline uint64_t slot_inc(uint64_t slot) { return slot & ((1u << SLOT_INC_BITS) - 1); }

/* ---- Segment word: what state a segment is in ------------------------------------------------------------------------
 *
 *    63                       28 27        16 15       8 7    4   3    2   0
 *   +---------------------------+------------+----------+------+------+-----+
 *   |        incarnation        |    turn    |   cell   | class| pool |state|
 *   +---------------------------+------------+----------+------+------+-----+
 *
 * Incarnation and turn together never recur in the life of anything that remembers them (48 bits): turns that would wrap
 * within an incarnation are not taken (evict.c). */
enum segment_state {
	SEGMENT_FREE = 0,     /* holds nothing, nobody names it */
	SEGMENT_ACTIVE = 1,   /* being appended to, for the cell in the word */
	SEGMENT_SEALED = 2,   /* full; places in it may still be reused */
	SEGMENT_DRAINING = 3, /* no new writers; those that name it may still be writing */
	SEGMENT_WALKING = 4,  /* its entries are being taken out of their slots */
	SEGMENT_LIMBO = 5,    /* no slot leads here; readers may still be reading */
};
enum pool { POOL_SMALL = 0, POOL_MAIN = 1, POOLS = 2 };

#define SEGWORD_POOL_SHIFT 3u
#define SEGWORD_CLASS_SHIFT 4u
#define SEGWORD_CELL_SHIFT 8u
#define SEGWORD_TURN_SHIFT 16u
#define SEGWORD_TURN_BITS 12u
#define SEGWORD_INC_SHIFT 28u
#define SEGWORD_INC_BITS 36u
_Static_assert(SEGWORD_TURN_SHIFT + SEGWORD_TURN_BITS == SEGWORD_INC_SHIFT, "turn ends where the incarnation begins");
_Static_assert(SEGWORD_INC_SHIFT + SEGWORD_INC_BITS == 64, "the incarnation fills the rest");

/* In the cell's bits, from DRAINING on: its survivors stay where they are. */
#define SEGWORD_RELINK (UINT64_C(1) << SEGWORD_CELL_SHIFT)

static inline unsigned segword_state(uint64_t w) { return w & 7; }
static inline unsigned segword_pool(uint64_t w) { return w >> SEGWORD_POOL_SHIFT & 1; }
static inline unsigned segword_class(uint64_t w) { return w >> SEGWORD_CLASS_SHIFT & 15; }
static inline unsigned segword_cell(uint64_t w) { return w >> SEGWORD_CELL_SHIFT & 255; }
static inline uint64_t segword_turn(uint64_t w) { return w >> SEGWORD_TURN_SHIFT & ((1u << SEGWORD_TURN_BITS) - 1); }
static inline uint64_t segword_inc(uint64_t w) { return w >> SEGWORD_INC_SHIFT; }
static inline uint64_t segword_life(uint64_t w) { return w >> SEGWORD_TURN_SHIFT; } /* incarnation and turn */
static inline uint64_t segword_with_state(uint64_t w, unsigned state) { return (w & ~UINT64_C(7)) | state; }
static inline uint64_t segword_with_next_turn(uint64_t w)
{
	uint64_t turn = (segword_turn(w) + 1) & ((1u << SEGWORD_TURN_BITS) - 1);
	return (w & ~(((UINT64_C(1) << SEGWORD_TURN_BITS) - 1) << SEGWORD_TURN_SHIFT)) | turn << SEGWORD_TURN_SHIFT;
}
static inline bool segword_is_open(uint64_t w) { return segword_state(w) == SEGMENT_ACTIVE || segword_state(w) == SEGMENT_SEALED; }
/* Will this life of it be written to, now or after a walk that leaves everything in place? */
static inline bool segword_stays(uint64_t w)
{
	return segword_is_open(w) || ((w & SEGWORD_RELINK) && (segword_state(w) == SEGMENT_DRAINING || segword_state(w) == SEGMENT_WALKING));
}
static inline uint64_t segword_free(uint64_t inc) { return inc << SEGWORD_INC_SHIFT | SEGMENT_FREE; }
static inline uint64_t segword_active(uint64_t inc, unsigned cell, unsigned pool, unsigned class)
{
	return inc << SEGWORD_INC_SHIFT | (uint64_t)cell << SEGWORD_CELL_SHIFT | (uint64_t)class << SEGWORD_CLASS_SHIFT
			| (uint64_t)pool << SEGWORD_POOL_SHIFT | SEGMENT_ACTIVE;
}

/* ---- Words tagged with a life: (tag, value), where a foreign tag reads as value 0 -------------------------------------
 *
 *    63                       24 23                  0
 *   +---------------------------+---------------------+
 *   |   incarnation [and turn]  |        value        |   cursor, progress, seal, cell: 40 bits of life
 *   +---------------------------+---------------------+ */
#define LIFE_VALUE_BITS 24u
static inline uint64_t life_word(uint64_t life, uint64_t value) { return life << LIFE_VALUE_BITS | value; }
static inline uint64_t life_value(uint64_t w) { return w & ((1u << LIFE_VALUE_BITS) - 1); }
static inline bool life_is(uint64_t w, uint64_t life) { return w >> LIFE_VALUE_BITS == (life & (UINT64_MAX >> LIFE_VALUE_BITS)); }

/* Start bitmap word: 16 bits of incarnation, 48 lines of the arena; a bit set: at least one entry begins in that line.
 * Only a writer that holds its segment by a hazard changes it, so the word cannot recur under it.  In which unit of the
 * line entries begin is found by trying: a walker believes a start only when a slot leads to it, so a bit (or a tag) that
 * is right by accident does no harm.  A BLOCK, a third of a word, is what a walker deals with in one go. */
#define STARTS_PER_WORD 48u
#define STARTS_TAG_SHIFT 48u
#define LINE_UNITS (LINE_BYTES / UNIT_BYTES)
#define BLOCK_LINES 16u
#define BLOCK_UNITS (BLOCK_LINES * LINE_UNITS)
#define WORD_BLOCKS (STARTS_PER_WORD / BLOCK_LINES)
_Static_assert(STARTS_PER_WORD % BLOCK_LINES == 0, "a block lies in one word");

/* ---- Entry -----------------------------------------------------------------------------------------------------------
 *
 *    63      48 47  46 45           34 33                       8 7      0
 *   +----------+------+---------------+--------------------------+--------+
 *   |  reuse   |status|  key bytes -1 |       value bytes        | fields |   the head, one word
 *   +----------+------+---------------+--------------------------+--------+
 *   | stamp: version 48, created (low 16)     if FIELD_STAMP              |
 *   | times: created (high 24), expiry 40     if FIELD_STAMP or _EXPIRES  |
 *   | namespace: generation 32, number 32     if FIELD_NAMESPACE          |
 *   | checksum                                if FIELD_CHECKSUM           |
 *   | extras: user flags 32, EXTRA_ 32        if FIELD_EXTRAS             |
 *   | refresh: grace ms 32, cost us 32        if EXTRA_REFRESH            |
 *   | lease: owner, token, clock, end         if EXTRA_LEASE              |
 *   | tags: clock, four numbers of 16         if EXTRA_TAGS is not 0      |
 *   | key | value, at a multiple of 8 from the head if FIELD_ALIGNED      |
 *
 * Immutable once published, but for the head's status, a counter's cell, and reuse (odd while the place is being
 * written again; only those who read without a hazard look at it).  Times: milliseconds since the cache's epoch. */
enum entry_status { ENTRY_UNBORN = 0, ENTRY_PENDING = 1, ENTRY_COMMITTED = 2, ENTRY_ABORTED = 3 };
enum entry_field {
	FIELD_EXPIRES = 1, FIELD_STAMP = 2, FIELD_NAMESPACE = 4, FIELD_EXTRAS = 8, FIELD_CHECKSUM = 16, FIELD_ALIGNED = 32,
	FIELD_KIND = 64 | 128
};
enum entry_kind { KIND_PLAIN = 0, KIND_COUNTER = 64, KIND_MANIFEST = 128, KIND_CHUNK = 192 };

/* The upper half of the extras word: what few entries have, in words that follow it.  Other bits are 0, or damage. */
#define EXTRA_TAGS_SHIFT 32u
#define EXTRA_TAGS (UINT64_C(7) << EXTRA_TAGS_SHIFT) /* how many tags, 0 .. TAGS_MAX: two words if there is one */
#define EXTRA_REFRESH (UINT64_C(1) << 35)            /* one word: how long it is good as a stale value, and what it cost */
#define EXTRA_LEASE (UINT64_C(1) << 36)              /* four words: somebody is computing a new value */
#define EXTRA_EMPTY (UINT64_C(1) << 37)              /* a lease, and no value */
#define EXTRA_WAS_STALE (UINT64_C(1) << 38)          /* a lease whose value was softly flushed when it was taken */
#define EXTRA_ABSENT (UINT64_C(1) << 39)             /* known to be absent: no value */
#define EXTRA_KEPT (UINT64_C(1) << 40)               /* not yet where the truth is: namespace_hide() passes it by */
#define EXTRAS_KNOWN (UINT64_C(0x1ff00000000) | UINT32_MAX)
#define TAGS_MAX 4u
#define LEASE_WORDS 4u
#define EXTRAS_BYTES_MAX (8u * (1 + LEASE_WORDS + 2)) /* of the words behind the extras word */

#define HEAD_VALUE_SHIFT 8u
#define HEAD_VALUE_BITS 26u
#define HEAD_KEY_SHIFT 34u
#define HEAD_KEY_BITS 12u
#define HEAD_STATUS_SHIFT 46u
#define HEAD_REUSE_SHIFT 48u
_Static_assert(HEAD_VALUE_SHIFT + HEAD_VALUE_BITS == HEAD_KEY_SHIFT, "value bytes end where key bytes begin");
_Static_assert(HEAD_KEY_SHIFT + HEAD_KEY_BITS == HEAD_STATUS_SHIFT && HEAD_STATUS_SHIFT + 2 == HEAD_REUSE_SHIFT, "the head is full");

#define TIME_BITS 40u
#define TIME_MASK ((UINT64_C(1) << TIME_BITS) - 1)

struct shm_entry {
	struct word head;
	unsigned char body[];
};

/* ---- Bucket and group: the index ------------------------------------------------------------------------------------- */

#define BUCKET_SLOTS 7u
#define GROUP_HOMES 32u
#define GROUP_OVERFLOWS 8u /* lines that the homes share */
#define PROBE_OVERFLOWS 2u /* those of them that a key can be in */
#define PROBE_SLOTS (BUCKET_SLOTS * (1 + PROBE_OVERFLOWS)) /* slots that a key can be in: its home's, then its overflow lines' */

/* Frequency of an entry: 0 .. FREQUENCY_MAX recent uses; above, it is young, and its uses do not count yet: the octet is its
 * moment of birth, FREQUENCY_YOUNG + a tick mod YOUNG_TICKS.  It is ripe RIPE_TICKS later. */
#define FREQUENCY_MAX 3u
#define FREQUENCY_YOUNG (FREQUENCY_MAX + 1)
#define YOUNG_TICKS (256u - FREQUENCY_YOUNG)
#define RIPE_TICKS 3u
#define PROMOTE_HITS 1u /* entries of the small pool used this often once they are ripe move to main */

/* One line.  frequency[i]: recent use of slot[i]'s entry, a hint.  spill (homes only): bit b set once any key of
 * this home was ever committed in overflow line b; never cleared. */
struct shm_bucket {
	struct word slot[BUCKET_SLOTS];
	struct octet frequency[BUCKET_SLOTS];
	struct octet spill;
};
_Static_assert(sizeof(struct shm_bucket) == LINE_BYTES, "a bucket is one line");

struct shm_group {
	struct shm_bucket home[GROUP_HOMES];
	struct shm_bucket overflow[GROUP_OVERFLOWS];
};
_Static_assert(sizeof(struct shm_group) == 40 * LINE_BYTES, "32 homes and the eight lines they share");
_Static_assert(GROUP_OVERFLOWS == 8, "a spill bit for each line");

/* ---- Segment descriptor: what changes while a segment lives ------------------------------------------------------------ */

#define SEGMENT_LANES 4u

/* One line, though writers and walkers both change it: a segment is being written to, or walked, never both. */
struct shm_segment {
	_Alignas(LINE_BYTES) struct word cursor; /* life_word(incarnation, next free unit): moved by CAS */
	struct word expiry; /* 24 bits of incarnation, latest expiry of its entries (TIME_MASK: never): raised by CAS */
	struct word seal;   /* life_word(incarnation, 24 low bits of the seal number): its age, a hint */
	struct octet walker[SEGMENT_LANES];   /* hint: lowest bits of participant + 1 at work in the lane */
	struct octet blocker[2]; /* for people: participant + 1 that kept it in DRAINING or LIMBO last, low octet first */
	uint8_t unused[2];
	struct word progress[SEGMENT_LANES]; /* life_word(life, blocks walked) of each lane */
};
_Static_assert(sizeof(struct shm_segment) == LINE_BYTES, "a descriptor is a line");

/* ---- Participant --------------------------------------------------------------------------------------------------------- */

/* Working hazards name a place + 1 (HAZARD_SEGMENT: a segment + 1); 0 names nothing. */
enum hazard {
	HAZARD_READ,    /* the entry being read */
	HAZARD_OWN,     /* the entry that this participant wrote and has not seen decided */
	HAZARD_OLD,     /* the entry found, to be replaced or removed because of what it contains */
	HAZARD_HELP,    /* an undecided entry being completed */
	HAZARD_COMPARE, /* the entry it is compared with */
	HAZARD_WALK,    /* the survivor being moved */
	HAZARD_KEEP,    /* the entry that a change of several steps is conditional on */
	HAZARD_SEGMENT, /* the segment being written to */
	HAZARDS
};
#define BATCH_HAZARDS 16u
#define PIN_HAZARDS 16u

#define COUNTERS_MAX 40u

struct shm_participant {
	_Alignas(LINE_BYTES) struct word hazard[HAZARDS];
	struct word batch[BATCH_HAZARDS]; /* entries of an mget under one fence: working hazards, too */
	struct word pin[PIN_HAZARDS];     /* read after all of the above by whoever scans */
	struct word registration;         /* bumped by each new owner, under its lock */
	struct word versions;             /* last version number handed out; stored before use */
	struct word pid;                  /* hints for people: process, and its command */
	struct word command[2];
	struct word flight;               /* registration 32, number 31, in progress 1: tier/flight.h */
	_Alignas(LINE_BYTES) struct word counter[COUNTERS_MAX]; /* cumulative over all owners */
};
_Static_assert(sizeof(struct shm_participant) % LINE_BYTES == 0, "participants share no line");

/* ---- Namespace ------------------------------------------------------------------------------------------------------------ */

#define NAMESPACE_NAME_BYTES 64u
#define NAMESPACE_STRIPES 4u

/* hash 0: free.  The name is written by word, from 0, by CAS, its length (1 .. 64) first. */
struct shm_namespace {
	_Alignas(LINE_BYTES) struct word hash;
	struct word generation; /* present 32, floor 32: entries below the floor are gone, below the present stale */
	struct word ttl;        /* default time to live in ms, 0: never */
	struct word name_bytes;
	struct word quota;      /* in bytes, 0: none */
	struct word quota_hand; /* hint: the group of the index that is looked at next for entries to drop */
	struct word kept_floor; /* 32 bits: generation before which EXTRA_KEPT keeps nothing */
	_Alignas(LINE_BYTES) struct word name[NAMESPACE_NAME_BYTES / 8];
	_Alignas(LINE_BYTES) struct { struct word entries, bytes; } tally[NAMESPACE_STRIPES]; /* the sums count; one alone means nothing */
	_Alignas(LINE_BYTES) struct word sample; /* of gets: how many 32, of them hits 32; namespace_sample() */
};
_Static_assert(sizeof(struct shm_namespace) == 4 * LINE_BYTES, "what gets read shares no line with what sets write");

/* Free segments that only survivors of an eviction may use. */
#define SURVIVORS_RESERVE 2u

/* ---- Ghosts: seven fingerprints of 9 bits a word, the newest lowest ----------------------------------------------------------- */

#define GHOSTS_PER_WORD 7u
#define GHOST_BITS 9u

/* ---- Instruments: small areas beside the cache proper ------------------------------------------------------------------------
 *
 *   board | tags | waits | hot | series | trace
 *
 * board and series are tables of rows with a name: hash 0 is free, a CAS of the name's hash claims a row, its length and
 * text are then written by CAS from 0, word by word, by whoever comes by.  Rows are never given back (label.c). */
#define BOARD_WORDS 16u
#define BOARD_TEXT_WORDS 14u
struct shm_board {
	_Alignas(LINE_BYTES) struct word hash;
	struct word name_bytes;
	struct word name[BOARD_TEXT_WORDS];
	_Alignas(LINE_BYTES) struct word value[BOARD_WORDS]; /* changed by CAS and fetch_add of whoever knows the name */
};
_Static_assert(sizeof(struct shm_board) == 4 * LINE_BYTES, "a row of the board is four lines");

/* A waiter sleeps on the word of its key's line; see lib/cache. */
struct shm_wait {
	_Alignas(LINE_BYTES) struct word event[LINE_BYTES / 8];
};

/* Hot keys, eight to a set.  count: fingerprint 26 | period 10 | count 28, changed by CAS.  error: the same fingerprint
 * and what the count began with; of another fingerprint: nothing is known.  Of the key: its hash, then
 * namespace 12 | bytes - 1 12 | sum of hash and text 40, then its first bytes, all hints, believed if the sum is right. */
#define HOT_WAYS 8u
#define HOT_TEXT_WORDS 6u
struct shm_hot_key {
	struct word hash;
	struct word about;
	struct word text[HOT_TEXT_WORDS];
};
struct shm_hot {
	_Alignas(LINE_BYTES) struct word count[HOT_WAYS];
	_Alignas(LINE_BYTES) struct word error[HOT_WAYS];
	_Alignas(LINE_BYTES) struct shm_hot_key key[HOT_WAYS];
};
_Static_assert(sizeof(struct shm_hot) == 10 * LINE_BYTES, "a set of hot keys is ten lines");
/* Stands before the sets. */
struct shm_hot_head {
	_Alignas(LINE_BYTES) struct word mode; /* enum larder_hot_mode + 1; 0: as by default */
	struct word period;                    /* hint: the last period in which somebody counted */
};

/* Metrics: one row for each set of labels, its counters striped; a histogram for those rows that are timed. */
#define SERIES_STRIPES 8u
#define SERIES_CELLS 8u
#define SERIES_TEXT_WORDS 30u
#define SERIES_ERRORS 32u
struct shm_series {
	_Alignas(LINE_BYTES) struct word hash;
	struct word text_bytes;
	struct word text[SERIES_TEXT_WORDS]; /* store NUL namespace NUL operation NUL { label=value NUL } */
	struct word error[SERIES_ERRORS];    /* by status, its sign changed; [0]: any other */
	_Alignas(LINE_BYTES) struct { struct word cell[SERIES_CELLS]; } stripe[SERIES_STRIPES];
};
_Static_assert(sizeof(struct shm_series) == 16 * LINE_BYTES, "a row of series is a kilobyte");

#define HISTOGRAM_BUCKETS 512u
struct shm_histogram {
	_Alignas(LINE_BYTES) struct word bucket[HISTOGRAM_BUCKETS];
};

/* head | rows | owners, one word a histogram (row + 1; 0: free) | histograms */
struct shm_series_head {
	_Alignas(LINE_BYTES) struct word timing; /* one operation in so many is timed; 0: as by default; UINT64_MAX: none */
	struct word overflows;                   /* label sets that found no row of their own, counted per lookup */
	struct word untimed;                     /* rows that found no histogram, counted per lookup */
};

/* Trace: a ring of sampled accesses in batches of a line, the first word of which is its heading (trace.h).  A mark is made
 * where a part of the ring begins. */
#define TRACE_BATCH 8u
#define TRACE_ACCESSES (TRACE_BATCH - 1)
#define TRACE_PARTS 8u
#define TRACE_MARKS 4u
#define TRACE_COUNTED_PARTS 2u
struct shm_trace_mark {
	_Alignas(LINE_BYTES) struct word number; /* of its batch, + 1; 0: being written */
	struct word hits, misses;                /* of the whole cache */
	struct word sample_misses, sets, sized, sized_bytes; /* of the head */
};
struct shm_trace_head {
	_Alignas(LINE_BYTES) struct word batches; /* number of batches ever begun */
	struct word thinning;                     /* hint: of the sample, + 1; 0: as it begins */
	struct word misses, sets;                 /* sums over all batches: accesses of these kinds, */
	struct word sized, sized_bytes;           /* of known size, and their bytes */
	struct shm_trace_mark mark[TRACE_MARKS];
};
_Static_assert(TRACE_MARKS > TRACE_COUNTED_PARTS + 1, "a mark outlives what is counted from it");

/* ---- Superblock ---------------------------------------------------------------------------------------------------------------- */

/* Fixed at creation.  Each process checks it once and works with a copy of its own. */
struct shm_geometry {
	uint64_t bytes;
	uint64_t participants_off, namespaces_off, board_off, tags_off, waits_off, hot_off, series_off, trace_off;
	uint64_t segwords_off, descriptors_off, starts_off, ghosts_off, index_off, arena_off;
	uint64_t groups;        /* of the index */
	uint64_t ghost_words;
	uint64_t value_max_bytes;
	uint32_t segments;
	uint32_t segment_shift; /* log2 of bytes */
	uint32_t start_words;   /* per segment */
	uint32_t participants;
	uint32_t namespaces;    /* a power of two */
	uint32_t stripes;       /* active segments of each pool and class */
	uint32_t classes;       /* of time to live, and behind them that of namespaces with a quota (geo_limited_class) */
	uint32_t reserve;       /* free segments that eviction keeps at hand */
	uint32_t create_flags;
	uint32_t mode;
	uint32_t board_rows;
	uint32_t tag_words;     /* a power of two */
	uint32_t wait_lines;    /* a power of two */
	uint32_t hot_sets;      /* a power of two, or 0 */
	uint32_t series_rows;
	uint32_t histograms;
	uint32_t trace_words;   /* a multiple of TRACE_BATCH * TRACE_PARTS, or 0 */
	uint32_t trace_shift;   /* one key in 2^trace_shift is traced, to begin with */
	uint64_t hash_seed;
	uint64_t epoch_ms;       /* monotonic clock of the initial time namespace at creation: time 0 of every entry */
	int64_t created_wall_ms;
	uint8_t boot_id[16];
};

#define CELLS_MAX 256u
#define SUPER_LIVE UINT64_C(0)
#define SUPER_RETIRED UINT64_C(1)

struct shm_super {
	char magic[8];
	uint32_t layout_version;
	uint32_t features;
	uint64_t geometry_sum; /* XXH3 of geometry */
	struct shm_geometry geometry;
	_Alignas(LINE_BYTES) struct word state;     /* SUPER_LIVE, SUPER_RETIRED */
	_Alignas(LINE_BYTES) struct word pressure;  /* hint: 1 while free segments are fewer than the reserve */
	struct word victim;                         /* hint: segment + 1 being emptied */
	struct word ghosts_active;                  /* hint: ghost words in use, for as many ghosts as main has entries */
	struct word participants_used;              /* one more than the highest slot ever taken; raised only */
	_Alignas(LINE_BYTES) struct word seals;     /* number of seals so far */
	struct word tag_clock;                      /* one less than the clock of tags (shm/tag.h): moved by CAS */
	_Alignas(LINE_BYTES) struct word cell[CELLS_MAX]; /* life_word(incarnation, segment + 1): the active segment; 0 none yet */
};
_Static_assert(sizeof(struct shm_super) <= PAGE_ALIGN, "the superblock is one page");

/* ---- Arithmetic of the geometry -------------------------------------------------------------------------------------------------- */

static inline uint64_t geo_owners_bytes(uint32_t histograms) { return (histograms * UINT64_C(8) + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES; }
static inline uint64_t geo_series_bytes(uint32_t rows, uint32_t histograms)
{
	return sizeof(struct shm_series_head) + rows * sizeof(struct shm_series) + geo_owners_bytes(histograms)
			+ histograms * sizeof(struct shm_histogram);
}
/* Namespaces with a quota have segments to themselves, so that what they set time and again takes no part in the turnover of
 * the others; where there are too few segments for that, they have not. */
#define CLASSES_WITH_LIMITED 3u
static inline uint32_t geo_ttl_classes(const struct shm_geometry *g) { return g->classes - (g->classes >= CLASSES_WITH_LIMITED); }
static inline bool geo_has_limited(const struct shm_geometry *g) { return g->classes >= CLASSES_WITH_LIMITED; }
static inline uint32_t geo_limited_class(const struct shm_geometry *g) { return g->classes - 1; }
static inline uint64_t geo_units(const struct shm_geometry *g) { return UINT64_C(1) << (g->segment_shift - UNIT_SHIFT); }
/* log2 of the seals in a tick: a segment is stamped twice, RIPE_TICKS are 2 to 4 % of all segments. */
static inline uint32_t geo_tick_shift(const struct shm_geometry *g)
{
	uint32_t seals = 2 * g->segments * 4 / 100 / RIPE_TICKS;
	return seals == 0 ? 0 : 31 - (uint32_t)__builtin_clz(seals);
}
static inline uint32_t geo_blocks(const struct shm_geometry *g) { return (uint32_t)(geo_units(g) / BLOCK_UNITS); }
static inline uint64_t geo_places(const struct shm_geometry *g) { return g->segments * geo_units(g); }
static inline uint64_t geo_place(const struct shm_geometry *g, uint32_t segment, uint64_t unit)
{
	return ((uint64_t)segment << (g->segment_shift - UNIT_SHIFT)) + unit;
}

#endif
