/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * larder.h from C++: it compiles without a warning, the calls have C linkage, and a small wrapper of the kind that a
 * C++ program would write works.
 */
#include <larder.h>

#include <cstdio>
#include <memory>
#include <string>
#include <type_traits>

static_assert(std::is_standard_layout<larder_options>::value, "options are plain data");
static_assert(std::is_standard_layout<struct larder_pin>::value, "a pin is plain data");
static_assert(std::is_standard_layout<struct larder_stat>::value, "statistics are plain data");

namespace {

struct closer {
	void operator()(larder *cache) const { larder_close(&cache); }
};
using handle = std::unique_ptr<larder, closer>;

int tests, failures;

void check(bool good, const char *name)
{
	std::printf("%sok %d - %s\n", good ? "" : "not ", ++tests, name);
	failures += !good;
}

handle open_cache(const std::string &name)
{
	larder *cache = nullptr;
	larder_options options = LARDER_OPTIONS_INIT;
	larder_set_options set_options = LARDER_SET_OPTIONS_INIT;
	(void)set_options;

	options.size = sizeof options;
	options.bytes = 4u << 20;
	larder_open_with(name.c_str(), &options, &cache);
	return handle(cache);
}

bool sets_and_gets(larder *cache)
{
	const std::string key = "key", value = "value";
	std::string found(16, '\0');
	size_t length = 0;

	if (larder_set(cache, 0, key.data(), key.size(), value.data(), value.size(), LARDER_TTL_DEFAULT) != LARDER_OK)
		return false;
	if (larder_get(cache, 0, key.data(), key.size(), &found[0], found.size(), &length) != LARDER_OK)
		return false;
	found.resize(length);
	return found == value;
}

bool pins(larder *cache)
{
	struct larder_pin pin; // as with stat(2), a call has the same name

	if (larder_pin(cache, 0, "key", 3, 0, &pin) != LARDER_OK)
		return false;
	const bool good = std::string(static_cast<const char *>(pin.data), pin.length) == "value";
	larder_unpin(cache, &pin);
	return good;
}

bool visit(const larder_entry *entry, void *arg)
{
	*static_cast<std::string *>(arg) += std::string(static_cast<const char *>(entry->key), entry->key_bytes);
	return true;
}

bool iterates(larder *cache)
{
	std::string keys;

	return larder_iterate(cache, 0, "", 0, 0, visit, &keys) == LARDER_OK && keys == "key";
}

} // namespace

int main(int argc, char **argv)
{
	std::string name = std::string("test-abi-") + (argc > 1 ? argv[1] : "c++");

	for (char &letter : name)
		letter = letter == '+' ? 'p' : letter;
	std::printf("1..5\n");
	larder_destroy(name.c_str());
	{
		handle cache = open_cache(name);
		check(cache != nullptr, "open");
		check(cache && sets_and_gets(cache.get()), "set and get");
		check(cache && pins(cache.get()), "pin");
		check(cache && iterates(cache.get()), "iterate");
	}
	check(larder_destroy(name.c_str()) == LARDER_OK, "destroy");
	return failures ? 1 : 0;
}
