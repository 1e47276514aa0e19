/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * boost: what one builds from Boost.Interprocess in an afternoon: an unordered map of strings in managed shared memory
 * under one interprocess_mutex.  Lookups go by the bytes of the key, without making a string first.
 */
#include <boost/functional/hash.hpp>
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/unordered_map.hpp>
#include <cstring>
#include <memory>
#include <string>

#define XXH_INLINE_ALL
#include <xxhash.h>

extern "C" {
#include "peer.h"
extern const struct peer_kind peer_boost;
}

namespace bip = boost::interprocess;

namespace {

typedef bip::managed_shared_memory segment_type;
typedef bip::allocator<char, segment_type::segment_manager> char_allocator;
typedef bip::basic_string<char, std::char_traits<char>, char_allocator> string_type;

struct bytes {
	const char *data;
	std::size_t length;
};

struct hash_of {
	std::size_t operator()(const string_type &s) const { return XXH3_64bits(s.data(), s.size()); }
	std::size_t operator()(const bytes &b) const { return XXH3_64bits(b.data, b.length); }
};

struct same_as {
	bool operator()(const string_type &a, const string_type &b) const { return a == b; }
	bool operator()(const bytes &a, const string_type &b) const
	{
		return a.length == b.size() && std::memcmp(a.data, b.data(), a.length) == 0;
	}
	bool operator()(const string_type &a, const bytes &b) const { return (*this)(b, a); }
};

typedef bip::allocator<std::pair<const string_type, string_type>, segment_type::segment_manager> pair_allocator;
typedef boost::unordered_map<string_type, string_type, hash_of, same_as, pair_allocator> map_type;

struct boost_peer {
	std::unique_ptr<segment_type> segment;
	bip::interprocess_mutex *mutex;
	map_type *map;
	std::size_t key_bytes, value_bytes, free_before;
};

int boost_create(struct peer *peer)
{
	const struct shape &shape = peer->shape;
	std::size_t room = shape.keys * (shape.key_bytes + shape.value_bytes + 256) * 2 + (std::size_t(64) << 20);

	try {
		std::unique_ptr<boost_peer> state(new boost_peer());
		state->segment.reset(new segment_type(bip::create_only, peer->name, room));
		state->free_before = state->segment->get_free_memory();
		state->mutex = state->segment->construct<bip::interprocess_mutex>(bip::unique_instance)();
		state->map = state->segment->construct<map_type>(bip::unique_instance)(shape.keys, hash_of(), same_as(),
				pair_allocator(state->segment->get_segment_manager()));
		state->key_bytes = shape.key_bytes;
		state->value_bytes = shape.value_bytes;
		peer->state = state.release();
	} catch (const std::exception &error) {
		return peer_fail(peer, "%s", error.what());
	}
	return 0;
}

int boost_join(struct peer *peer, void **seat)
{
	*seat = peer->state;
	return 0;
}

int boost_get(void *seat, const uint8_t *key, uint8_t *value)
{
	boost_peer *state = static_cast<boost_peer *>(seat);
	const bytes name = { reinterpret_cast<const char *>(key), state->key_bytes };
	bip::scoped_lock<bip::interprocess_mutex> lock(*state->mutex);
	const map_type::const_iterator found = state->map->find(name, hash_of(), same_as());

	if (found == state->map->end())
		return -1;
	std::memcpy(value, found->second.data(), found->second.size());
	return static_cast<int>(found->second.size());
}

int boost_set(void *seat, const uint8_t *key, const uint8_t *value)
{
	boost_peer *state = static_cast<boost_peer *>(seat);
	const bytes name = { reinterpret_cast<const char *>(key), state->key_bytes };
	const char *data = reinterpret_cast<const char *>(value);
	bip::scoped_lock<bip::interprocess_mutex> lock(*state->mutex);

	try {
		const map_type::iterator found = state->map->find(name, hash_of(), same_as());

		if (found != state->map->end()) {
			found->second.assign(data, state->value_bytes);
			return 0;
		}
		const char_allocator allocator(state->segment->get_segment_manager());
		state->map->emplace(string_type(name.data, name.length, allocator),
				string_type(data, state->value_bytes, allocator));
	} catch (const std::exception &) {
		return -1;
	}
	return 0;
}

uint64_t boost_memory(struct peer *peer)
{
	boost_peer *state = static_cast<boost_peer *>(peer->state);

	return state->free_before - state->segment->get_free_memory();
}

void boost_destroy(struct peer *peer)
{
	delete static_cast<boost_peer *>(peer->state);
	peer->state = nullptr;
}

void boost_sweep(const struct peer *peer)
{
	bip::shared_memory_object::remove(peer->name);
}

peer_kind describe()
{
	peer_kind one = peer_kind();

	one.name = "boost";
	one.text = "Boost.Interprocess, map and mutex";
	one.scope = PEER_PROCESSES;
	one.create = boost_create;
	one.join = boost_join;
	one.get = boost_get;
	one.set = boost_set;
	one.memory = boost_memory;
	one.destroy = boost_destroy;
	one.sweep = boost_sweep;
	return one;
}

} /* namespace */

extern "C" const struct peer_kind peer_boost = describe();
