//! Even replicas by as few copies as can be, then even preferred leaders by changing orders alone.

use std::collections::VecDeque;

use super::board::Board;
use crate::placement::breaches;

/// Moves replicas from sites with more to sites with fewer, as long as the rules allow and it evens out.
pub(super) fn replicas(board: &mut Board) {
    let mut hosted: Vec<Vec<usize>> = vec![Vec::new(); board.floor.sites.len()];
    for item in board.items() {
        for &site in board.replicas(item) {
            hosted[site].push(item);
        }
    }
    let sites = (0..hosted.len()).filter(|&site| board.floor.sites[site].open);
    let count = sites.count().max(1);
    let all: usize = hosted.iter().map(Vec::len).sum();
    let (floor, ceiling) = (all / count, all.div_ceil(count));
    // From above the average to below it first: such a copy is needed in any case. Where the racks keep sites apart,
    // the rest evens out among themselves.
    let steps: [Gives<'_>; 4] = [
        &|full, few| full > ceiling && few < floor,
        &|full, few| full > floor && few < floor,
        &|full, few| full > ceiling && few < ceiling,
        &|full, few| few + 2 <= full,
    ];
    for gives in steps {
        while move_one_round(board, &mut hosted, gives) {}
    }
}

/// Whether a site with so many replicas should give one to a site with so few.
type Gives<'a> = &'a dyn Fn(usize, usize) -> bool;

/// Once over all sites, the fullest first. Whether anything moved.
fn move_one_round(board: &mut Board, hosted: &mut [Vec<usize>], gives: Gives<'_>) -> bool {
    let mut moved = false;
    let mut fullest: Vec<usize> = (0..hosted.len()).collect();
    fullest.sort_by_key(|&site| (std::cmp::Reverse(hosted[site].len()), site));
    for from in fullest {
        let mut index = 0;
        while index < hosted[from].len() {
            let item = hosted[from][index];
            match emptier(board, hosted, item, from, gives) {
                Some(to) => {
                    let mut replicas = board.replicas(item).to_vec();
                    for site in &mut replicas {
                        if *site == from {
                            *site = to;
                        }
                    }
                    board.set(item, replicas);
                    hosted[from].swap_remove(index);
                    hosted[to].push(item);
                    moved = true;
                }
                None => index += 1,
            }
        }
    }
    moved
}

/// The emptiest site that should and may take the item's replica.
fn emptier(
    board: &Board,
    hosted: &[Vec<usize>],
    item: usize,
    from: usize,
    gives: Gives<'_>,
) -> Option<usize> {
    let full = hosted[from].len();
    let least = |site: &usize| (hosted[*site].len(), *site);
    let usable = board.floor.usable(board.ground(item));
    usable
        .filter(|&to| gives(full, hosted[to].len()) && may_move(board, item, from, to))
        .min_by_key(least)
}

/// Whether the item's replica may go from one site to another without breaking a rule that it keeps.
fn may_move(board: &Board, item: usize, from: usize, to: usize) -> bool {
    let (replicas, sites) = (board.replicas(item), &board.floor.sites);
    let (here, there) = (&sites[from], &sites[to]);
    if there.fenced || replicas.contains(&to) {
        return false;
    }
    let mut others = replicas.iter().filter(|&&site| site != from);
    if others.any(|&site| sites[site].node == there.node) {
        return false;
    }
    let in_rack = |rack: usize| {
        let there = replicas.iter().filter(|&&site| sites[site].rack == rack);
        there.count()
    };
    if here.rack != there.rack && in_rack(there.rack) >= in_rack(here.rack) {
        return false;
    }
    let swap = |&site: &usize| if site == from { to } else { site };
    let after: Vec<usize> = replicas.iter().map(swap).collect();
    let broken = |replicas: &[usize]| breaches(&board.floor, board.ground(item), replicas).len();
    broken(&after) <= broken(replicas)
}

/// Hands preferred leaderships on, along chains of partitions, from sites with more to sites with fewer.
pub(super) fn leaders(board: &mut Board) {
    let mut led: Vec<Vec<usize>> = vec![Vec::new(); board.floor.sites.len()];
    for item in board.items() {
        if let Some(&first) = board.replicas(item).first() {
            led[first].push(item);
        }
    }
    let mut sites: Vec<usize> = (0..led.len()).collect();
    loop {
        sites.sort_by_key(|&site| (std::cmp::Reverse(led[site].len()), site));
        let Some(chain) = sites.iter().find_map(|&from| chain(board, &led, from)) else {
            return;
        };
        for (item, from, to) in chain {
            let mut replicas = board.replicas(item).to_vec();
            if let Some(place) = replicas.iter().position(|&site| site == to) {
                replicas.swap(0, place);
            }
            board.set(item, replicas);
            led[from].retain(|&other| other != item);
            led[to].push(item);
        }
    }
}

/// The shortest chain of items, each with who hands it on to whom, that ends at a site with at least two
/// leaderships fewer.
fn chain(board: &Board, led: &[Vec<usize>], from: usize) -> Option<Vec<(usize, usize, usize)>> {
    let mut reached: Vec<Option<(usize, usize)>> = vec![None; led.len()];
    let mut waiting = VecDeque::from([from]);
    while let Some(site) = waiting.pop_front() {
        for &item in &led[site] {
            for &next in &board.replicas(item)[1..] {
                if next == from || reached[next].is_some() || !may_lead(board, item, next) {
                    continue;
                }
                reached[next] = Some((item, site));
                if led[next].len() + 2 <= led[from].len() {
                    return Some(walk_back(&reached, from, next));
                }
                waiting.push_back(next);
            }
        }
    }
    None
}

fn walk_back(
    reached: &[Option<(usize, usize)>],
    from: usize,
    mut to: usize,
) -> Vec<(usize, usize, usize)> {
    let mut steps = Vec::new();
    while to != from {
        let Some((item, before)) = reached[to] else {
            break;
        };
        steps.push((item, before, to));
        to = before;
    }
    steps
}

fn may_lead(board: &Board, item: usize, site: usize) -> bool {
    let site = &board.floor.sites[site];
    site.open && !site.fenced && !board.ground(item).shuns_leader(site.rack)
}
