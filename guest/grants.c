// SPDX-License-Identifier: GPL-2.0
/*
 * grants PAGES: has gntdev set aside so many pages for memory that other domains may grant, says
 * "ready", and stays, so that it keeps them. There are no such domains: nothing is mapped.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct grant_ref { /* include/uapi/xen/gntdev.h */
	uint32_t domid;
	uint32_t ref;
};

struct map_grant_ref {
	uint32_t count;
	uint32_t pad;
	uint64_t index;
	struct grant_ref refs[1];
};

#define IOCTL_GNTDEV_MAP_GRANT_REF _IOC(_IOC_NONE, 'G', 0, sizeof(struct map_grant_ref))

int main(int argc, char **argv)
{
	uint32_t count = argc > 1 ? strtoul(argv[1], NULL, 0) : 0;
	struct map_grant_ref *map = calloc(1, sizeof(*map) + count * sizeof(map->refs[0]));
	int gntdev = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);

	if (gntdev < 0 || !map) {
		perror("grants");
		return 1;
	}
	map->count = count;
	if (ioctl(gntdev, IOCTL_GNTDEV_MAP_GRANT_REF, map)) {
		perror("grants");
		return 1;
	}
	puts("ready");
	fclose(stdout);
	pause();
	return 0;
}
