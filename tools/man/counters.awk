# SPDX-License-Identifier: BSD-2-Clause
# Puts the counters of larder/counters.def into a manual page, in place of its line .\" @COUNTERS@, and the metrics of
# larder/metrics.def and larder/gauges.def in place of .\" @METRICS@ and .\" @GAUGES@
#   awk -f counters.awk counters.def gauges.def metrics.def page.in > page
/^LARDER_COUNTER\(/ {
	name = $0; sub(/^LARDER_COUNTER\(/, "", name); sub(/,.*/, "", name)
	text = $0; sub(/^[^"]*"/, "", text); sub(/"\)[^"]*$/, "", text)
	items = items ".It Li " name "\n" text "\n"
	next
}
/^LARDER_GAUGE\(/ {
	name = $0; sub(/^LARDER_GAUGE\(/, "", name); sub(/,.*/, "", name)
	text = $0; sub(/"\)[^"]*$/, "", text); sub(/^.*"/, "", text)
	gauges = gauges ".It Li " name "\n" text "\n"
	next
}
/^LARDER_METRIC\(/ {
	name = $0; sub(/^LARDER_METRIC\(/, "", name); sub(/,.*/, "", name)
	text = $0; sub(/"\)[^"]*$/, "", text); sub(/^.*"/, "", text)
	metrics = metrics ".It Li " name "\n" text "\n"
	next
}
FILENAME ~ /\.def$/ { next }
/^\.\\" @COUNTERS@$/ { printf "%s", items; next }
/^\.\\" @GAUGES@$/ { printf "%s", gauges; next }
/^\.\\" @METRICS@$/ { printf "%s", metrics; next }
{ print }
