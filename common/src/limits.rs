//! Every bound of the protocol and the engine, with its unit, its derivation and its source.
//!
//! A bound that a peer can run into is part of the contract and stands in WIRE.md too. Bounds that an operator may move
//! are options of the component that owns them; their defaults are here.

use std::time::Duration;

/// Bytes of one channel-opening frame and of its reply. A path (4,096) and a token fit many times.
pub const OPEN_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one control frame (listing block, want list, list page). Chosen so that a block of 500 entries with
/// ordinary names takes one frame and one wake-up, while a peer cannot make us hold more than this per frame.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Bytes at which a writer closes a listing block and starts the next: small enough that planning starts early.
pub const LISTING_BLOCK_BYTES_TARGET: usize = 32 * 1024;

/// Entries of one listing block. With the shortest names a block of `LISTING_BLOCK_BYTES_TARGET` has a thousand; a frame could
/// hold 200,000 that take twenty times its bytes once they are decoded.
pub const BLOCK_ENTRIES_MAX: usize = 4096;

/// Bytes of one unit header on a data stream: a pack of `PACK_FILES_MAX` items of at most 80 bytes each and twice `PACK_SEGMENTS_MAX`
/// segments of at most 15.
pub const UNIT_HEADER_BYTES_MAX: usize = 128 * 1024;

/// Bytes that one `ping` may carry (the contract).
pub const PING_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a frame of the `offload` service: three numbers of at most 9 bytes, one of 5 and a variant's.
pub const OFFLOAD_FRAME_BYTES_MAX: usize = 64;

/// Files of one batch of an offload. Chosen: enough that round trips and barriers are few, and few enough that the oldest go first.
pub const OFFLOAD_BATCH_FILES_MAX: usize = 1024;

/// Bytes of the same, unless one file has more: seconds of a fast link, and what is on its way when an offload is killed.
pub const OFFLOAD_BATCH_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes of the paths of all files that an offload looks at: 64 for each of [`ENTRIES_MAX`]. A gateway could have them be 4,095.
pub const OFFLOAD_PATH_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Bytes of an offload's journal, of which there are two: some 100,000 files. Chosen, not measured.
pub const JOURNAL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of a file-name component: `NAME_MAX` of Linux file systems (POSIX `limits.h`).
pub const NAME_BYTES_MAX: usize = 255;

/// Bytes of a relative path: Linux `PATH_MAX` (4,096) less the terminating NUL.
pub const PATH_BYTES_MAX: usize = 4095;

/// Bytes of a symbolic link's target: Linux `PATH_MAX` less the terminating NUL.
pub const LINK_TARGET_BYTES_MAX: usize = 4095;

/// Extended attributes of one entry that are told.
pub const XATTRS_MAX: usize = 256;

/// Bytes of all names and values of one entry: as long as Linux lets one value be. A listing block with one more entry than its target
/// is still far below `CONTROL_FRAME_BYTES_MAX`.
pub const XATTR_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the extended attributes of all entries of a sync, those that are alike counted once, and 64 for each that is not: a hash of
/// its own for each of 1.5 million files. What a tree may take at most (`ENTRIES_MAX`) is five times as much.
pub const XATTR_SETS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Patterns of one selection. With `PATTERN_BYTES_MAX`, `MATCH_BYTES_MAX`, `LISTED_INLINE_BYTES_MAX` and a path it fits the opening frame.
pub const PATTERNS_MAX: usize = 1024;

/// Bytes of all patterns of one selection. They have no counted repetition, so what they compile to is a small multiple of this.
pub const PATTERN_BYTES_MAX: usize = 24 * 1024;

/// Bytes of the regular expression of one selection.
pub const MATCH_BYTES_MAX: usize = 4096;

/// Bytes that a regular expression may compile to: some thousand states. A peer's `(a{999}){999}` is refused by it.
pub const MATCH_PROGRAM_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that the search with a regular expression may remember per thread, before it starts its memory anew.
pub const MATCH_CACHE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of a list of paths that the opening frame carries, three bytes more per path counted; a longer one travels apart.
pub const LISTED_INLINE_BYTES_MAX: usize = 16 * 1024;

/// Paths of one list. With `LISTED_BYTES_MAX` it costs a gateway 40 MiB at most: each has 24 bytes beside its own.
pub const LISTED_PATHS_MAX: usize = 256 * 1024;

/// Bytes of all paths of one list: 128 for each of `LISTED_PATHS_MAX`.
pub const LISTED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Changed paths that a watch remembers until somebody acts on them; more stand for a change of everything. Half of what one list may
/// have: with `LISTED_BYTES_MAX` some 40 MB at most, and ordinary paths take 15.
pub const WATCHED_CHANGES_MAX: usize = LISTED_PATHS_MAX / 2;

/// Bytes at which a list of paths that travels apart starts another message.
pub const SELECT_BYTES_TARGET: usize = 128 * 1024;

/// Links that are followed in the resolution of one, as many as Linux follows (path_resolution(7)).
pub const LINK_HOPS_MAX: usize = 40;

/// Entries of one tree. At about 100 bytes each this is 1.6 GiB on a machine that really has so many.
pub const ENTRIES_MAX: u32 = 16 * 1024 * 1024;

/// Bytes of a large file's chunk, and the size up to which a file travels whole in a pack. 1 MiB is 1,024 BLAKE3 chunks,
/// a whole subtree of the hash, and 70 to 160 datagrams.
pub const CHUNK_BYTES: u64 = 1024 * 1024;

/// Payload bytes at which a pack is closed. Packs of 64 KiB to 1 MiB measured alike on tmpfs; 256 KiB keeps wake-ups
/// under 4,000 per GB.
pub const PACK_BYTES_TARGET: usize = 256 * 1024;

/// Payload bytes of a pack at most: just under the target, then one file of `CHUNK_BYTES`.
pub const PACK_BYTES_MAX: usize = PACK_BYTES_TARGET + 1024 * 1024;

/// Bytes that the destination copies for the files of a pack at which it is closed: some milliseconds of one thread, so that all its threads
/// have work from early on until the end. Chosen, not measured.
pub const PACK_COPIED_BYTES_TARGET: u64 = 4 * 1024 * 1024;

/// Files of one pack.
pub const PACK_FILES_MAX: usize = 1024;

/// Chunks that the signature of one old file has: 720 KB of a control frame.
pub const SIGNATURE_CHUNKS_MAX: usize = 32_768;

/// Chunks of signatures that are told and whose files have not begun to come: 8 MB at the source.
pub const SIGNATURE_CHUNKS_TOLD_MAX: usize = 262_144;

/// Bytes of signatures at which a message of them is closed.
pub const SIGNATURES_BYTES_TARGET: usize = 32 * 1024;

/// Old files that the destination holds open because new ones are being built from them, if the process may hold 128 times as many:
/// enough for 40,000 renamed files a second over a round trip of 100 ms.
pub const BASES_OPEN_MAX: usize = 4096;

/// Bytes from which on a file that only changes its name keeps its inode. Smaller ones are copied sooner than all is looked at that a new file
/// would not have: a rotation of 20,000 logs of 5 KB takes 1.2 times as long with them.
pub const MOVED_BYTES_MIN: u64 = 32 * 1024;

/// Files at the destination, of those that the source does not name, that are looked at as what a new file may have been: about 300 MB.
pub const CANDIDATES_MAX: usize = 1024 * 1024;

/// Large files that are wanted with a basis and have not come: what is sent of them may be so small that windows do not bound how many
/// are incomplete at the same time, so far fewer than `FILES_OPEN_MAX`.
pub const BASES_LARGE_MAX: usize = FILES_OPEN_MAX / 10;

/// Bytes from which on a file is compared with others of its size before it is sent. Below it, opening the other costs about what sending does.
pub const TWIN_BYTES_MIN: u64 = 16 * 1024;

/// Files of one size that a file is compared with, the latest first: a tree of files of one size must not cost a comparison for each pair.
pub const TWINS_COMPARED_MAX: usize = 4;

/// Files that are kept in the staging place though they could not get their names, for others that are the same: room on the disk
/// for few files, and enough for those whose names a file system does not take. Chosen, not measured.
pub const NAMELESS_FILES_MAX: usize = 64;

/// Segments of one pack, at most 15 bytes each: a third of its header.
pub const PACK_SEGMENTS_MAX: usize = 1024;

/// Unidirectional data streams of one sync on a short path. Each has a window of its own, so a lost packet holds up a quarter of them.
pub const DATA_STREAMS: usize = 4;

/// Data streams that one sync may have: as many as fill `CONNECTION_WINDOW_BYTES_MAX` but for what is left for control. A source opens as many as
/// its send window has room for.
pub const DATA_STREAMS_MAX: usize = 24;

/// Units (packs or chunks) waiting between the threads that read or write files and the streams: 8 × 1.25 MiB at most.
pub const UNITS_QUEUED_MAX: usize = 8;

/// Listing blocks waiting for the planner: 16 × 32 KiB, of an honest peer.
pub const BLOCKS_QUEUED_MAX: usize = 16;

/// Entries of listing blocks that were told by their digests and not answered: as many ordinary ones as fit into `DIGEST_BYTES_WAITING_MAX` at the destination, which may have to keep
/// them, and enough for a million a second over a round trip of 100 ms. A tree of 100,000 is told without waiting.
pub const DIGEST_ENTRIES_AHEAD_MAX: usize = 106_496;

/// Bytes of memory for the entries of such blocks that are here and wait for an earlier one: what ordinary ones take. Of links with long targets it
/// may be 8 KB each; a block beyond it is asked for.
pub const DIGEST_BYTES_WAITING_MAX: usize = 32 * 1024 * 1024;

/// Control messages waiting to be written.
pub const CONTROL_QUEUED_MAX: usize = 64;

/// Subtrees of one file's hash that may be ahead of its first gap. What comes in a row is one or a few of them, however small copies and
/// zeros make it on the wire; this is twice the chunks that a signature can reach. 3 MB.
pub const CHUNKS_AHEAD_MAX: usize = 65_536;

/// Large files that one sync receives at the same time: one per reading thread, and those whose last bytes are still on the way. While a
/// stream makes up for a loss, three windows of the connection (156 MiB at most) may overtake it, in files of `FILE_WIRE_BYTES_MIN` and more.
pub const FILES_OPEN_MAX: usize = 1280;

/// Bytes that a large file takes on the wire at least, however well it compresses: smaller ones could be on the way in greater
/// numbers than `FILES_OPEN_MAX` allows. An eighth of the smallest.
pub const FILE_WIRE_BYTES_MIN: u64 = CHUNK_BYTES / 8;

/// How many times smaller than itself a chunk is made at most, so that three windows of the connection hold fewer than `CHUNKS_AHEAD_MAX`.
pub const CHUNK_RATIO_MAX: u64 = 64;

/// Highest level of compression: above it zstd takes memory by the hundred megabytes.
pub const COMPRESS_LEVEL_MAX: u8 = 19;

/// Threads of a side that read or write files, unless somebody says otherwise. Two overlap one file's latency with another's
/// hashing; more do not pay on two cores.
pub const JOBS_DEFAULT: u8 = 2;

/// Threads of a side that read or write files, by its own choice. Each may have a large file open, well within `FILES_OPEN_MAX`.
pub const JOBS_MAX: u8 = 64;

/// Threads that a gateway starts for one sync because its peer asks for them: with all of its handlers busy they still fit its pool of
/// blocking threads.
pub const PEER_JOBS_MAX: u8 = 8;

/// Bytes per second below which no limit goes: a unit of 1 MiB would be under way for a quarter of an hour.
pub const RATE_BYTES_MIN: u64 = 1024;

/// What a limited source may send at once after a pause, as a part of a second: a tenth is not felt as a burst by others on the link.
pub const RATE_BURST: Duration = Duration::from_millis(100);

/// Files that are written before the disk is asked to keep them, with `--durability batch`. Measured: 1024 and 8192 take 5 to 12 % more time.
pub const BATCH_FILES_MIN: usize = 2048;

/// Files that wait while it does so.
pub const BATCH_FILES_MAX: usize = 16_384;

/// Bytes that are written but not yet renamed in one batch: half a second of a fast disk.
pub const BATCH_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// How long a written file waits for its batch to fill: bounds what a crash can cost on a slow link.
pub const BATCH_AGE_MAX: Duration = Duration::from_secs(2);

/// Directory handles that one sync keeps open. Wants come directory by directory, so a few would do; parallel reading and late
/// commits reach a few directories back.
pub const DIR_HANDLES_MAX: usize = 32;

/// Times a file that changes under the reader is tried before it is named as failed.
pub const READ_ATTEMPTS_MAX: u32 = 3;

/// Failures and skipped entries that are kept by name; beyond it they are only counted.
pub const NAMED_OUTCOMES_MAX: usize = 10_000;

/// Changes waiting for the edge that shows them: a few bursts of a planner, at most 4 KiB each.
pub const EVENTS_QUEUED_MAX: usize = 1024;

/// Levels of a directory that is removed with all that is in it: each keeps a handle open. A deeper one is left and named. Chosen, not measured.
pub const DELETED_DEPTH_MAX: usize = 128;

/// Bytes of unfinished files that a destination keeps for later syncs, unless it is told otherwise. Chosen: some large files of each of
/// several peers, and a part of any disk on which such files are put.
pub const PARTIAL_BYTES_DEFAULT: u64 = 64 * 1024 * 1024 * 1024;

/// Bytes of a reason that one side tells the other.
pub const REASON_BYTES_MAX: usize = 512;

/// Bytes of a subroutine's name.
pub const SUBROUTINE_NAME_BYTES_MAX: usize = 128;

/// Bytes of a call's input or of its result that travel in its opening frame or reply, which leave room for the rest.
pub const CALL_INLINE_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a frame of a call's input, and of a part of its result. Chosen: long enough that frames cost nothing, short enough to be held by each of
/// many calls.
pub const CALL_FRAME_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a call's raw arguments, which are held as a whole; those with values, which take many times their bytes, have [`CONTROL_FRAME_BYTES_MAX`]. What is larger is sent (`send`), and taken as it comes.
pub const ARGUMENTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a call's arguments may take to come, which have a handler meanwhile. Chosen: [`ARGUMENTS_BYTES_MAX`] over a link of 28 KB/s.
pub const ARGUMENTS_TIME_MAX: Duration = Duration::from_secs(600);

/// Bytes of an item of a stream, which is held as a whole at either end.
pub const ITEM_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a frame of items that is not held back for more. Items that are there at the same time travel together.
pub const ITEMS_BYTES_TARGET: usize = 64 * 1024;

/// Bytes of what a failed subroutine says of it: the last lines of a program.
pub const CALL_REASON_BYTES_MAX: usize = 8 * 1024;

/// Worker processes of one subroutine. Chosen: far more than processors, far fewer than processes of a user.
pub const WORKERS_MAX: usize = 1024;

/// Bytes of a part of a batch, or of a text, in one frame of a worker, which is held as a whole: what a frame of control may have. A worker cuts what is longer.
pub const WORKER_PART_BYTES_MAX: usize = 1024 * 1024;

/// Files that the built-in `list-files` tells of in one call: with ordinary names some 10 MB of JSON.
pub const FILES_TOLD_MAX: usize = 65_536;

/// Bytes of the paths of these files: [`FILES_TOLD_MAX`] of them with long names.
pub const LISTED_PATH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Places that the built-in `list-files` could not look at and names; others are counted.
pub const UNREADABLE_NAMED_MAX: usize = 100;

/// How long a gateway waits for a call to end before it says that it goes on; less where the call has little more time. Well below [`REPLY_TIMEOUT`].
pub const CALL_REPLY_DELAY: Duration = Duration::from_secs(1);

/// How long a peer may take to say the next thing in a conversation that waits for it alone.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a gateway waits for the end of what an earlier connection of an identity has under way at a directory, before it says that it is busy. Well below
/// [`REPLY_TIMEOUT`], as it looks at the directory then; far above what a batch takes to be put in place, unless the disk hangs.
pub const TAKE_OVER_TIME_MAX: Duration = Duration::from_secs(6);

/// How long a sync may pass without any frame from the peer. Each side says `Alive` every `HEARTBEAT_INTERVAL`, so
/// only a peer that hangs runs into it.
pub const SYNC_SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long to listen for a peer's reason after it broke off a data stream. It is on its way, or does not come.
pub const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a controller that has all it wanted listens for the source's last words before it goes. On a short path they come within it; a longer
/// one would cost a round trip for counts of which most are told before. Enough for its own last message to leave, as at the end of a connection.
pub const FAREWELL_TIME: Duration = Duration::from_millis(2);

/// How often a side that has nothing to say says that it lives.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How often the destination reports its counts while it works. The metrics promise an advance every second.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Silence after which a connection is given up (RFC 9000 §10.1): a killed peer frees its handler within this.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(8);

/// Four keep-alives fit into `IDLE_TIMEOUT`, so three may be lost.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// How long dialling a gateway may take, handshake included: two retransmissions of the first flight.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bidirectional streams that a controller may hold open: more than any handler pool, so that a full pool answers `busy`
/// instead of letting the peer hang on the stream limit.
pub const CHANNELS_MAX: u32 = 16_384;

/// Bidirectional streams that a gateway offers at first; it offers more as they are opened, up to `CHANNELS_MAX`. quinn makes an entry for each
/// offered stream in advance: 16,384 of each kind cost 2 ms and 2 MB at either end of every connection, a stranger's too.
pub const CHANNELS_OFFERED: u32 = 128;

/// Unidirectional streams that each end offers: 42 syncs at a time on one connection with `DATA_STREAMS_MAX` each. Those of more wait their turn.
pub const DATA_STREAMS_OFFERED: u32 = 1024;

/// Bytes one stream may be ahead of its reader. quinn closes the connection at about 1,024 gaps in one stream;
/// 2 MiB of 1,200-byte packets, every second one lost, is 874 gaps.
pub const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// Bytes all streams of one connection may be ahead of their readers on a short path: `DATA_STREAMS` windows and room for control. Doubled, and doubled
/// again, when more streams are in use than have room.
pub const CONNECTION_WINDOW_BYTES: u32 = 12 * 1024 * 1024;

/// The same on the longest path: `DATA_STREAMS_MAX` windows and room for control.
pub const CONNECTION_WINDOW_BYTES_MAX: u32 = 52 * 1024 * 1024;

/// The rate in bytes per second that windows let through whatever the round trip, up to 138 ms: 1 Gbit/s.
pub const PATH_RATE_BYTES: u32 = 125_000_000;

/// Round trips of `PATH_RATE_BYTES` that a window holds: one on its way, one for what is lost to be noticed and come again, during which all else of its
/// stream waits, and one for the notice that there is room.
pub const WINDOW_ROUND_TRIPS: u32 = 3;

/// Bytes that the streams of a connection whose identity is not known may be ahead: the one opening frame that it may send, and as
/// much again. With the full window a few strangers who send and wait could have a gigabyte kept for them.
pub const STRANGER_WINDOW_BYTES: u32 = 128 * 1024;

/// Bytes written to a connection and not yet acknowledged, at most: as many as the other end's window has room for, up to this, which is 2.4 times
/// what is on its way at 1 Gbit/s and 150 ms and is kept in memory. With 2.0 times, 1 % of loss leaves a tenth less of the rate.
pub const SEND_WINDOW_BYTES_MAX: u32 = 44 * 1024 * 1024;

/// Bytes asked of the kernel for each direction of the UDP socket: 776 MB/s against 560–640 with the default.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Largest UDP payload that is looked for and accepted: four of them go in one send. Loopback carries four times as much, and jumbo frames half; a push of large files over
/// loopback takes 0.85 of the CPU time that it takes with 6,500, and no less with 32,000 or 65,400.
pub const DATAGRAM_BYTES_MAX: u16 = 16_000;

/// First UDP payload size before discovery: what every Ethernet path carries over IPv4 and IPv6 (1,500 − 48).
pub const DATAGRAM_BYTES_INITIAL: u16 = 1200;
