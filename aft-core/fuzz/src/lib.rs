//! An allocator that ends the process at a request no decoder may make: a length field must never be believed.

use std::alloc::{GlobalAlloc, Layout, System};

/// serde reserves up to 1 MiB ahead for a sequence; inputs of a few KiB can justify no more than that.
const MOST_BYTES: usize = 2 << 20;

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

impl Limited {
    fn check(bytes: usize) {
        if bytes > MOST_BYTES {
            std::process::abort();
        }
    }
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        Self::check(bytes);
        unsafe { System.realloc(at, layout, bytes) }
    }
}
