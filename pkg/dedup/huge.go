package dedup

import (
	"syscall"
	"unsafe"
)

const (
	hugePageBytes = 2 << 20
	madvHugePage  = 14 // MADV_HUGEPAGE
)

// alloc makes a slice of n, and asks the kernel for huge pages where it is large. Tables and filters are read at random:
// with pages of 4 KiB each read also misses the TLB, which under a hypervisor costs more than the read itself. The kernel
// may decline; then it is only slower.
func alloc[T slot | uint64](n int) []T {
	s := make([]T, n)
	bytes := n * int(unsafe.Sizeof(s[0]))
	if bytes < 2*hugePageBytes {
		return s
	}
	start := uintptr(unsafe.Pointer(&s[0]))
	skip := int(-start & (hugePageBytes - 1))
	all := unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), bytes)
	_ = syscall.Madvise(all[skip:skip+(bytes-skip)/hugePageBytes*hugePageBytes], madvHugePage)
	return s
}
