// SPDX-License-Identifier: GPL-2.0
/*
 * fragment MIB: fills a file of a tmpfs, the current directory, with so many MiB and punches a hole for every second
 * page, so that no pageblock is free and each page that is left can be moved. Removing the file frees them.
 *
 * fragment all: has all memory compacted, and writes the CPU time in ns that this took, which is instructions under
 * "qemu -icount shift=0".
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static long long cpu_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void compact_all(void)
{
	int file = open("/proc/sys/vm/compact_memory", O_WRONLY);
	long long before = cpu_time();

	if (write(file, "1", 1) != 1)
		err(1, "compact_memory");
	printf("%lld\n", cpu_time() - before);
}

static void make_holes(size_t size)
{
	static const char page[PAGE] = { 1 };
	int file = open("holes", O_RDWR | O_CREAT | O_TRUNC, 0600);
	size_t at;

	for (at = 0; at < size; at += PAGE)
		if (pwrite(file, page, PAGE, at) != PAGE)
			err(1, "write");
	for (at = 0; at < size; at += 2 * PAGE)
		if (fallocate(file, PUNCH, at, PAGE))
			err(1, "punch");
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 1;
	if (strcmp(argv[1], "all"))
		make_holes(strtoul(argv[1], NULL, 0) << 20);
	else
		compact_all();
	return 0;
}
