//! A small async Kafka client: connections, metadata, administration, producing and consuming.
//!
//! It speaks to any Kafka from 2.1 on, and picks each request's version by what the broker serves.
//!
//! ```no_run
//! # async fn example() -> Result<(), milena_client::Error> {
//! use milena_client::{Client, ClientOptions, Producer, ProducerOptions, Record};
//!
//! let client = Client::new(ClientOptions::new("localhost:9092"));
//! let producer = Producer::start(client, ProducerOptions::default()).await?;
//! let delivery = producer.send(Record::new("greetings").value("hello")).await?;
//! println!("stored at {}", delivery.placed().await?.offset);
//! # Ok(())
//! # }
//! ```

pub mod admin;
pub mod assignment;
mod client;
mod connection;
pub mod consumer;
mod error;
pub mod group;
mod metadata;
mod network;
pub mod partitioner;
mod producer;
mod retry;

pub use client::{Client, ClientOptions};
pub use connection::{Answer, Connection, ConnectionOptions};
pub use consumer::{Consumer, ConsumerOptions, Fetched, StartAt};
pub use error::{ConnectionError, Error};
pub use metadata::{Broker, Cluster, Partition, Topic};
pub use producer::{
    Acks, Delivered, Delivery, OnDelivery, Placed, Producer, ProducerOptions, Record, producer_id,
};
