// SPDX-License-Identifier: GPL-2.0
/*
 * What the hypervisor knows of the domain that this runs in, which is dom0.
 * xenmem limit KIB: from now on it may have so much memory. A host's tools do the same.
 * xenmem pool KIB: how much memory there is for page tables from its pages to those of the machine, if it is no PV domain.
 * xenmem current: how much it has, in KiB.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

struct hypercall { /* include/uapi/xen/privcmd.h */
	uint64_t op;
	uint64_t arg[5];
};

#define IOCTL_PRIVCMD_HYPERCALL _IOC(_IOC_NONE, 'P', 0, sizeof(struct hypercall))

#define MEMORY_OP 12
#define CURRENT_RESERVATION 3

#define DOMCTL 36
#define DOMCTL_MAX_MEM 11
#define DOMCTL_SET_PAGING_MEMPOOL_SIZE 86
#define DOMCTL_VERSION 0x15 /* of the interface: Xen 4.17 takes no other */

struct domctl {
	uint32_t cmd;
	uint32_t version;
	uint16_t domain;
	uint16_t pad[3];
	uint64_t size; /* in KiB, or in bytes: as the command has it */
	uint8_t rest[120]; /* the largest command there is takes that */
};

/* The hypervisor accesses it where it is. */
static union {
	struct domctl domctl;
	uint16_t domain;
} arg __attribute__((aligned(4096)));

int main(int argc, char **argv)
{
	struct hypercall call = { .op = MEMORY_OP, .arg = { CURRENT_RESERVATION, (uintptr_t)&arg } };
	int privcmd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
	int limit = argc == 3 && !strcmp(argv[1], "limit");
	int pool = argc == 3 && !strcmp(argv[1], "pool");
	long result;

	if (!limit && !pool && (argc != 2 || strcmp(argv[1], "current")))
		return 2;
	if (limit || pool) {
		call = (struct hypercall){ .op = DOMCTL, .arg = { (uintptr_t)&arg } };
		arg.domctl.cmd = limit ? DOMCTL_MAX_MEM : DOMCTL_SET_PAGING_MEMPOOL_SIZE;
		arg.domctl.version = DOMCTL_VERSION;
		arg.domctl.size = strtoull(argv[2], NULL, 0) * (limit ? 1 : 1024);
	}
	if (privcmd < 0 || mlock(&arg, sizeof(arg))) {
		perror("xenmem");
		return 1;
	}
	result = ioctl(privcmd, IOCTL_PRIVCMD_HYPERCALL, &call);
	if (result < 0) {
		perror("xenmem");
		return 1;
	}
	if (!limit && !pool)
		printf("%ld\n", result * 4);
	return 0;
}
