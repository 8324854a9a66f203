//! What the allocator does with memory that is freed.

use std::hint::black_box;

/// Half of what a heap keeps of its free end. Chosen: more than a window of datagrams, less than a tenth of what an end may take.
const BLOCK_BYTES: usize = 8 << 20;

/// Lets this process keep up to 16 MiB of freed memory at the end of each heap, for its next use. Called once, at the start.
///
/// The GNU C library gives it back from 128 KiB on. A receiver frees datagrams as fast as it takes them, and each page that goes back is faulted
/// in anew: 222,000 faults for 2 GiB, where 9,000 are left with this. The library takes twice the size of the largest mapped block that was
/// freed as its bound from then on (`mallopt(3)`, `M_MMAP_THRESHOLD`); a block that nobody touches costs two system calls and no memory.
/// Other allocators just free it.
pub fn keep_freed() {
    drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
}

/// Gives all memory that is free back to the system, also what lies between blocks in use. Blocks: a heap of 100 MB takes some ms.
///
/// The GNU C library gives back the end of a heap alone. A thousand blocks of a few bytes among what a hundred MB of content have left keep all of it. It
/// looks for free pages when told (`malloc_trim(3)`); other allocators do so without.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no crate has a safe form of it")]
    // SAFETY: it touches free memory alone, under the allocator's own locks, and may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use std::{env, fs, hint::black_box, process::Command};

    use super::give_back;

    const BLOCK_BYTES: usize = 64 << 10;

    /// Set in the process that is looked at.
    const ROLE: &str = "SWARMWIRE_HEAP";

    fn resident_bytes() -> usize {
        let told = fs::read_to_string("/proc/self/status").expect("the kernel tells");
        let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        line.and_then(|line| line.trim().parse::<usize>().ok()).expect("the kernel tells this") << 10
    }

    /// In a process of its own, where nothing else takes memory or gives it back.
    #[test]
    fn memory_between_blocks_in_use_goes_back() {
        if env::var_os(ROLE).is_some() {
            return measure();
        }
        let name = "heap::tests::memory_between_blocks_in_use_goes_back";
        let mut child = Command::new(env::current_exe().expect("this program"));
        let output = child.args([name, "--exact", "--nocapture"]).env(ROLE, "").output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
    }

    fn measure() {
        let (content, kept): (Vec<_>, Vec<_>) =
            (0..2048).map(|_| (vec![1_u8; BLOCK_BYTES], Box::new([1_u8; 16]))).unzip();
        drop(black_box(content));
        let before = resident_bytes();
        give_back();
        let after = resident_bytes();
        assert!(after + 512 * BLOCK_BYTES < before, "{before} before, {after} after");
        drop(black_box(kept));
    }
}
