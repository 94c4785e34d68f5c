//! iceoryx2: publish and subscribe to one topic, without overflow.

use std::hint::spin_loop;

use anyhow::{Result, anyhow};
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::event;

use crate::channel::Channel;
use crate::harness::Space;
use crate::peers::rsipc::CAPACITY;

type Topic<T> = iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, T, ()>;

/// Where iceoryx2 keeps what it makes.
pub struct Place {
    config: Config,
    _space: Space,
}

impl Place {
    /// `prefix`: what the names of its files in /dev/shm begin with.
    pub fn new(space: Space, prefix: &str) -> Result<Self> {
        set_log_level(LogLevel::Error);
        let mut config = Config::default();
        config.global.prefix = FileName::new(prefix.as_bytes()).map_err(|e| anyhow!("{e:?}"))?;
        let root = Path::new(space.path().as_os_str().as_encoded_bytes()).map_err(|e| anyhow!("{e:?}"))?;
        config.global.set_root_path(&root);
        Ok(Self { config, _space: space })
    }

    pub fn node(&self) -> Node<ipc::Service> {
        NodeBuilder::new().config(&self.config).create::<ipc::Service>().expect("iceoryx2 makes a node")
    }
}

fn topic<const N: usize>(node: &Node<ipc::Service>) -> Topic<[u8; N]> {
    node.service_builder(&"topic".try_into().expect("it is a name"))
        .publish_subscribe::<[u8; N]>()
        .enable_safe_overflow(false)
        .subscriber_max_buffer_size(CAPACITY)
        .open_or_create()
        .expect("iceoryx2 opens a topic")
}

fn publisher<const N: usize>(topic: &Topic<[u8; N]>) -> Publisher<ipc::Service, [u8; N], ()> {
    let builder = topic.publisher_builder().backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
    builder.create().expect("iceoryx2 makes a publisher")
}

fn subscriber<const N: usize>(topic: &Topic<[u8; N]>) -> Subscriber<ipc::Service, [u8; N], ()> {
    topic.subscriber_builder().create().expect("iceoryx2 makes a subscriber")
}

/// Sends until it is delivered, since a full subscriber is now and then passed over, whatever the strategy.
fn send<const N: usize>(publisher: &Publisher<ipc::Service, [u8; N], ()>, message: &[u8; N]) {
    while publisher.loan_uninit().expect("there is a sample").write_payload(*message).send().expect("it is sent") == 0 {
        spin_loop();
    }
}

/// Everything that a process needs before it can send its first message.
pub fn first_publisher(place: &Place) {
    let node = place.node();
    drop(publisher(&topic::<64>(&node)));
}

/// Messages are copied into loaned memory, and out of it; the receiver spins.
pub struct Spinning(pub Place);

impl<const N: usize> Channel<N> for Spinning {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        let publisher = publisher(&topic(&self.0.node()));
        move |message| {
            send(&publisher, message);
        }
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        let subscriber = subscriber(&topic(&self.0.node()));
        move |buffer| loop {
            match subscriber.receive().expect("the connection stands") {
                Some(sample) => break *std::hint::black_box(buffer) = *sample.payload(),
                None => spin_loop(),
            }
        }
    }
}

/// As [`Spinning`], but the sender tells the receiver by an event, for which it sleeps.
pub struct Events(pub Place);

impl Events {
    fn event(&self, node: &Node<ipc::Service>) -> event::PortFactory<ipc::Service> {
        node.service_builder(&"event".try_into().expect("it is a name"))
            .event()
            .open_or_create()
            .expect("iceoryx2 opens an event")
    }
}

impl<const N: usize> Channel<N> for Events {
    fn sender(&self) -> impl FnMut(&[u8; N]) {
        let node = self.0.node();
        let publisher = publisher(&topic(&node));
        let notifier = self.event(&node).notifier_builder().create().expect("iceoryx2 makes a notifier");
        move |message| {
            send(&publisher, message);
            notifier.notify().expect("the listener is there");
        }
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; N]) {
        let node = self.0.node();
        let subscriber = subscriber(&topic(&node));
        let listener = self.event(&node).listener_builder().create().expect("iceoryx2 makes a listener");
        move |buffer| loop {
            match subscriber.receive().expect("the connection stands") {
                Some(sample) => break *std::hint::black_box(buffer) = *sample.payload(),
                None => drop(listener.blocking_wait(|_| {}).expect("the event stands")),
            }
        }
    }
}

/// Long messages in place: each is loaned, marked in its first and last byte, and sent; the receiver spins.
pub struct Loans {
    pub place: Place,
    pub len: usize,
}

impl Loans {
    fn topic(&self) -> Topic<[u8]> {
        let node = self.place.node();
        let builder = node.service_builder(&"topic".try_into().expect("it is a name")).publish_subscribe::<[u8]>();
        let builder = builder.enable_safe_overflow(false).subscriber_max_buffer_size(1).subscriber_max_borrowed_samples(1);
        builder.max_publishers(1).max_subscribers(1).open_or_create().expect("iceoryx2 opens a topic")
    }
}

impl Channel<1> for Loans {
    fn sender(&self) -> impl FnMut(&[u8; 1]) {
        let topic = self.topic();
        let publisher = topic.publisher_builder().initial_max_slice_len(self.len).max_loaned_samples(1);
        let publisher = publisher.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create();
        let publisher = publisher.expect("iceoryx2 makes a publisher");
        move |mark| {
            let mut sample = publisher.loan_slice_uninit(self.len).expect("there is a sample");
            sample.payload_mut()[0].write(mark[0]);
            sample.payload_mut()[self.len - 1].write(mark[0]);
            // SAFETY: the bytes between were mapped, and nobody reads them.
            unsafe { sample.assume_init() }.send().expect("it is sent");
        }
    }

    fn receiver(&self) -> impl FnMut(&mut [u8; 1]) {
        let subscriber = self.topic().subscriber_builder().create().expect("iceoryx2 makes a subscriber");
        move |mark| loop {
            match subscriber.receive().expect("the connection stands") {
                Some(sample) => {
                    let payload = sample.payload();
                    mark[0] = payload[0];
                    break assert_eq!((payload.len(), payload[self.len - 1]), (self.len, mark[0]));
                }
                None => spin_loop(),
            }
        }
    }
}
