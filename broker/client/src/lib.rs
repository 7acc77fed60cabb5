//! A small async client.
