# SPDX-License-Identifier: GPL-2.0
"""/proc/iomem as a tree."""

import re
from dataclasses import dataclass, field
from typing import Iterator

_LINE = re.compile(r"( *)([0-9a-f]+)-([0-9a-f]+) : (.*)")


@dataclass
class Resource:
    start: int
    end: int  # inclusive, as the kernel prints it
    name: str
    children: list["Resource"] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.end - self.start + 1

    def __str__(self) -> str:
        return f"{self.start:x}-{self.end:x} : {self.name}"

    def walk(self) -> Iterator["Resource"]:
        yield self
        for child in self.children:
            yield from child.walk()


class Iomem:
    def __init__(self, text: str) -> None:
        self.text = text
        self.top: list[Resource] = []
        path: list[Resource] = []
        for line in text.splitlines():
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"not a line of /proc/iomem: {line!r}")
            depth = len(match[1]) // 2
            resource = Resource(int(match[2], 16), int(match[3], 16), match[4])
            del path[depth:]
            (path[-1].children if path else self.top).append(resource)
            path.append(resource)

    def __len__(self) -> int:
        """The number of resources."""
        return sum(1 for _ in self.walk())

    def walk(self) -> Iterator[Resource]:
        for resource in self.top:
            yield from resource.walk()

    def named(self, name: str) -> list[Resource]:
        return [resource for resource in self.walk() if resource.name == name]

    def one(self, name: str) -> Resource:
        """The only resource of that name."""
        found = self.named(name)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} resources are named {name!r}:\n{self.text}")
        return found[0]

    def under(self, owner: str) -> list[Resource]:
        """The children of the resource `owner`."""
        return self.one(owner).children

    def system_ram(self, driver: str) -> list[Resource]:
        """What `driver` added: virtio_mem, kmem."""
        return self.named(f"System RAM ({driver})")
