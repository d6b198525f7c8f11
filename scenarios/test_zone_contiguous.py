"""zone->contiguous, by which compaction takes every pageblock of a zone for one of the zone, is
true if and only if that is so: compared with a look at all of them, after each of many changes."""

import random

import pytest

from conftest import Boot
from vmtest import module
from vmtest.paths import DEBUG
from vmtest.vm import MEMORY, VM

HOSTED = "memory_hotplug.memmap_on_memory=force"
CHECK = """
check() {
    while read -r node zone says is; do
        [ $says = $is ] || { echo "node $node zone $zone: says $says, is $is; $*"; exit 1; }
    done </sys/kernel/debug/zones
}
"""
SEED, TURNS, CHANGES = 4, 20, 2000

# Memory blocks go online to one zone or the other, and offline, one at a time, in no order.
TURN = CHECK + """
RANDOM=$1; shift
turns=$1; shift
changed=0
cd /sys/devices/system/memory
while [ $((turns -= 1)) -ge 0 ]; do
    eval "block=memory\\${$((RANDOM % $# + 1))}"
    read -r state 2>/dev/null <$block/state || continue  # the driver has removed it
    case $state$((RANDOM % 2)) in
    online*) to=offline ;;
    offline0) to=online_kernel ;;
    offline1) to=online_movable ;;
    esac
    # Memory that something holds a reference to would be tried to be offlined for ever.
    timeout 1 sh -c "echo $to >$block/state" 2>/dev/null && changed=$((changed + 1))
    check "$block $to"
done
echo $changed
"""


def watch(vm: VM) -> None:
    file = module.bring(vm, "guest/zones")
    vm.sh(module.insmod(file, ["get_online_mems", "put_online_mems"]))


def check(vm: VM, what: str) -> None:
    checked = vm.run(CHECK + f"check {what}")
    assert checked.status == 0, checked.text


def contiguous(vm: VM) -> dict[str, bool]:
    """What the kernel says, by "node/zone"."""
    lines = (line.split() for line in vm.sh("cat /sys/kernel/debug/zones").splitlines())
    return {f"{node}/{zone}": says == "1" for node, zone, says, _ in lines}


def in_use(vm: VM, dimm: str) -> bool:
    """Whether some of it cannot be taken offline."""
    start = vm.dimms()[dimm]
    blocks = [f"memory{start // vm.block_size + number}" for number in range(2)]
    return any(
        vm.run(f"cd {MEMORY}/{b}; grep -q offline state || timeout 5 sh -c 'echo offline >state'").status
        for b in blocks
    )


@pytest.mark.base(fails="says 0, is 1")
def test_what_grows_without_a_gap_is_contiguous(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline=f"{HOSTED} memhp_default_state=online_movable")
    watch(vm)
    check(vm, "at boot")
    for size in ["128M", "1G", "512M", "4M", "0", "260M"]:
        vm.resize(size)
        check(vm, size)
        assert contiguous(vm).get("0/Movable", False) == (size != "0")


@pytest.mark.base(fails="says 0, is 1")
# Pages go to the other node first when memory goes offline, and that may be full.
@pytest.mark.may_complain("page allocation failure: order:0, .*__GFP_MOVABLE.*nodemask=")
@pytest.mark.parametrize("hosted", [HOSTED, ""])
def test_thousands_of_changes_in_no_order(boot: Boot, kernel: str, hosted: str) -> None:
    changes = CHANGES // 10 if kernel == DEBUG else CHANGES
    vm = boot(vmem=["1G", "1G"], cmdline=hosted, second_node=not hosted)
    watch(vm)
    at_boot = set(vm.memory_blocks())
    chosen = random.Random(SEED)
    dimms: set[str] = set()
    changed = 0
    for turn in range(TURNS):
        for device in ["vmem0", "vmem1"]:
            vm.request(f"{chosen.randrange(0, 1024, 4)}M", device)
        name = f"dimm{chosen.randrange(2)}"
        if name not in dimms:
            vm.add_dimm(name, "256M")
            dimms.add(name)
        elif not in_use(vm, name):
            vm.remove_dimm(name, "256M")
            dimms.remove(name)
        vm.pass_hotplug_lock()  # and the driver goes on
        check(vm, f"turn {turn}")
        blocks = " ".join(map(str, sorted(set(vm.memory_blocks()) - at_boot)))
        turned = vm.run(f"set -- {turn} {changes // TURNS} {blocks}\n{TURN}", seconds=300)
        assert turned.status == 0, turned.text
        changed += int(turned.text)
    assert changed > changes // 4


@pytest.mark.base("same")
def test_persistent_memory_in_the_middle_of_a_pageblock(boot: Boot) -> None:
    """On the kernel with large pageblocks: of the pageblock at 128 MiB, half is left to memory."""
    vm = boot(cmdline="memmap=2M!130M")
    watch(vm)
    assert vm.iomem().one("Persistent Memory (legacy)").children
    check(vm, "with persistent memory")
    assert not contiguous(vm)["0/DMA32"]
