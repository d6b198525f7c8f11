// SPDX-License-Identifier: GPL-2.0
/* pin: holds pages of its own that cannot be moved, as a pipe has them, until it is killed. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define SIZE (16 * 4096UL) /* what a pipe has room for */

int main(void)
{
	struct iovec pages = { .iov_len = SIZE };
	int ends[2];

	pages.iov_base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages.iov_base == MAP_FAILED || pipe(ends))
		err(1, "mmap or pipe");
	memset(pages.iov_base, 1, SIZE);
	if (vmsplice(ends[1], &pages, 1, 0) != SIZE)
		err(1, "vmsplice");
	if (write(1, "pinned\n", 7) != 7)
		err(1, "write");
	for (;;)
		pause();
}
