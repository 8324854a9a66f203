//! A UDP relay between a controller and a gateway, which can tell when much has passed, and then swallow everything.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How often threads look whether they are still wanted.
const LOOK_UP_EVERY: Duration = Duration::from_millis(20);

/// What a test waits for at most before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Datagrams from any controller to one gateway, and back.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    front: UdpSocket,
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

struct State {
    gateway: SocketAddr,
    /// Bytes that may still pass; none means no end.
    left: Option<u64>,
    /// Whether the gateway is heard although nothing more reaches it.
    is_open_back: bool,
}

impl Relay {
    /// Passes `bytes` in both directions together, then nothing until [`Relay::open_to`].
    pub(crate) fn start(gateway: SocketAddr, bytes: u64) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        front.set_read_timeout(Some(LOOK_UP_EVERY)).unwrap();
        let address = front.local_addr().unwrap();
        let shared = Arc::new(Shared {
            front,
            state: Mutex::new(State { gateway, left: Some(bytes), is_open_back: false }),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let running = Arc::clone(&shared);
        Self { address, shared, thread: Some(std::thread::spawn(move || run(&running))) }
    }

    /// Waits until all that may pass has passed.
    pub(crate) fn wait_until_shut(&self) {
        let state = self.shared.state.lock().unwrap();
        let is_open = |state: &mut State| state.left != Some(0);
        let (_state, waited) = self.shared.changed.wait_timeout_while(state, PATIENCE, is_open).unwrap();
        assert!(!waited.timed_out(), "too little has passed");
    }

    /// Whether all that may pass has passed.
    pub(crate) fn is_shut(&self) -> bool {
        self.shared.state.lock().unwrap().left == Some(0)
    }

    /// Lets everything pass to a gateway at another address.
    pub(crate) fn open_to(&self, gateway: SocketAddr) {
        *self.shared.state.lock().unwrap() = State { gateway, left: None, is_open_back: true };
    }

    /// Lets what the gateway says pass, and still nothing to it.
    pub(crate) fn open_back(&self) {
        self.shared.state.lock().unwrap().is_open_back = true;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Where a datagram may go, if it may.
    fn admit(&self, size: usize, is_back: bool) -> Option<SocketAddr> {
        let mut state = self.state.lock().unwrap();
        if is_back && state.is_open_back {
            return Some(state.gateway);
        }
        if let Some(left) = &mut state.left {
            if *left == 0 {
                return None;
            }
            *left = left.saturating_sub(size as u64);
            self.changed.notify_all();
        }
        Some(state.gateway)
    }
}

/// From the controllers to the gateway; each controller has a socket of its own there, and a thread for what comes back.
fn run(shared: &Arc<Shared>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut threads = Vec::new();
    let mut buffer = vec![0; 65_536];
    while !shared.is_over.load(Relaxed) {
        let Ok((size, controller)) = shared.front.recv_from(&mut buffer) else { continue };
        let back = backs.entry(controller).or_insert_with(|| {
            let back = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
            back.set_read_timeout(Some(LOOK_UP_EVERY)).unwrap();
            let (shared, own) = (Arc::clone(shared), Arc::clone(&back));
            threads.push(std::thread::spawn(move || run_back(&shared, &own, controller)));
            back
        });
        if let Some(gateway) = shared.admit(size, false) {
            // A datagram that cannot be sent is one that was lost.
            let _ = back.send_to(&buffer[..size], gateway);
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn run_back(shared: &Shared, back: &UdpSocket, controller: SocketAddr) {
    let mut buffer = vec![0; 65_536];
    while !shared.is_over.load(Relaxed) {
        let Ok(size) = back.recv(&mut buffer) else { continue };
        if shared.admit(size, true).is_some() {
            let _ = shared.front.send_to(&buffer[..size], controller);
        }
    }
}
