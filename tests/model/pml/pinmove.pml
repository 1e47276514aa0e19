/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * question: a reader turns its working hazard into a pin while a recycler scans: can the scan miss both?
 * pass: | the pin is stored before the working hazard is cleared, and scans read working hazards before pins
 * fail: -DPINS_FIRST | the scan reads pins first
 * fail: -DCLEAR_FIRST | the reader clears first
 */
#include "common.h"

bit slot = 1, hazard, pin;
bit reading, freed;

active proctype reader()
{
	if
	:: slot ->
		hazard = 1;
		if
		:: slot ->
#ifdef CLEAR_FIRST
			hazard = 0;
			pin = 1;
#else
			pin = 1;
			hazard = 0;
#endif
			reading = 1;
			assert(!freed);
			reading = 0;
			pin = 0
		:: else -> hazard = 0
		fi
	:: else
	fi
}

active proctype recycler()
{
	bit a, b;

	slot = 0;
#ifdef PINS_FIRST
	a = pin;
	b = hazard;
#else
	a = hazard;
	b = pin;
#endif
	if :: a || b :: else -> freed = 1; assert(!reading) fi
}
