// SPDX-License-Identifier: GPL-2.0
/*
 * Preloaded to kexec: adds to kexec_load() of a crash kernel the flag that newer kexec-tools give with
 * --hotplug, so that the kernel updates the header. kexec-tools would leave the header out of the
 * digest that the crash kernel is checked with; an older one does not, so do not crash with this.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>

#define KEXEC_ON_CRASH			0x1
#define KEXEC_CRASH_HOTPLUG_SUPPORT	0x8 /* include/uapi/linux/kexec.h */

long syscall(long number, ...)
{
	long (*next)(long number, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	long argument[6];
	va_list arguments;
	int i;

	va_start(arguments, number);
	for (i = 0; i < 6; i++)
		argument[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_kexec_load && (argument[3] & KEXEC_ON_CRASH) && argument[1])
		argument[3] |= KEXEC_CRASH_HOTPLUG_SUPPORT;
	return next(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}
