//! WHAT: the words by which users name what they ask about, and what the words mean on this host.
//!
//! A word that may be several things means any of them: `redis` is a process, a container, a unit and a service.

mod meant;
mod parse;

use std::net::IpAddr;

pub use self::{
    meant::{Meant, Named},
    parse::WhatError,
};

/// A word, as the user gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct What {
    /// The word.
    pub text: String,
    /// It may be the number of a process or, if it is large, of a namespace.
    pub number: Option<u32>,
    /// It may be a name of a process, container, namespace or unit.
    pub is_name: bool,
    /// The address, or the addresses of the host that it names.
    pub addrs: Vec<IpAddr>,
    /// The port, or that of the service that it names.
    pub port: Option<u16>,
    /// The ends that `addrs` and `port` mean are those that have both; else either.
    pub is_end: bool,
    /// A process of this name or number was there before the trace. It need not have sockets.
    pub is_process: bool,
    /// Names of containers that the word is, by their ids: the host knows them.
    pub containers: Vec<String>,
}

/// A part of a word that the host has to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved<'w> {
    /// The name of a host.
    Host(&'w str),
    /// The name of a service.
    Service(&'w str),
}
