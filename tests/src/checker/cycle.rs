//! Finds cycles, in time linear in the graph and without recursion, and makes them short, so that people can read them.

use std::collections::VecDeque;

use super::graph::{Edge, Graph};
use super::report::MOST_PER_KIND;
use super::resolve::Tx;

/// How many edges the search for a short cycle may look at within one knot.
const EDGES_PER_KNOT: usize = 500_000;

const UNSEEN: u32 = u32::MAX;

/// One short cycle of each knot (strongly connected component with a cycle), of as many knots as a report lists.
pub(super) fn cycles<W: Copy>(graph: &Graph<W>) -> Vec<Vec<Edge<W>>> {
    let (knot_of, knots) = knots(graph);
    let mut search = Search { parent: vec![None; graph.nodes()], graph, knot_of: &knot_of };
    knots.iter().take(MOST_PER_KIND).filter_map(|knot| search.short_cycle(knot)).collect()
}

/// The knots with more than one member (no edge leads from a transaction to itself), and of each node its component.
fn knots<W>(graph: &Graph<W>) -> (Vec<u32>, Vec<Vec<Tx>>) {
    let nodes = graph.nodes();
    let mut order = vec![UNSEEN; nodes];
    let mut low = vec![UNSEEN; nodes];
    let mut component = vec![UNSEEN; nodes];
    let mut components = 0;
    let mut knots = Vec::new();
    let mut next = 0;
    let mut open: Vec<Tx> = Vec::new();
    // Tarjan's algorithm; what would be its recursion: a node and how many of its edges are done (0: it is new).
    let mut path: Vec<(Tx, usize)> = Vec::new();
    for root in 0..nodes as Tx {
        if order[root as usize] != UNSEEN {
            continue;
        }
        path.push((root, 0));
        while let Some((node, done)) = path.last_mut() {
            let at = *node as usize;
            if *done == 0 {
                order[at] = next;
                low[at] = next;
                next += 1;
                open.push(*node);
            }
            if let Some(edge) = graph.from(*node).get(*done) {
                *done += 1;
                let to = edge.to as usize;
                if order[to] == UNSEEN {
                    path.push((edge.to, 0));
                } else if component[to] == UNSEEN {
                    low[at] = low[at].min(order[to]);
                }
                continue;
            }
            path.pop();
            if let Some(&(parent, _)) = path.last() {
                low[parent as usize] = low[parent as usize].min(low[at]);
            }
            if low[at] == order[at] {
                let start = open.iter().rposition(|&other| other as usize == at).unwrap_or(0);
                let members = open.split_off(start);
                for &member in &members {
                    component[member as usize] = components;
                }
                components += 1;
                if members.len() > 1 {
                    knots.push(members);
                }
            }
        }
    }
    (component, knots)
}

struct Search<'a, W> {
    /// Of each node that was reached, the edge that reached it first.
    parent: Vec<Option<Edge<W>>>,
    graph: &'a Graph<W>,
    knot_of: &'a [u32],
}

impl<W: Copy> Search<'_, W> {
    /// The shortest cycle through any of the knot's first members, as many as the budget allows.
    fn short_cycle(&mut self, knot: &[Tx]) -> Option<Vec<Edge<W>>> {
        let mut budget = EDGES_PER_KNOT;
        let mut shortest: Option<Vec<Edge<W>>> = None;
        for &start in knot {
            let most = shortest.as_ref().map_or(usize::MAX, Vec::len);
            if most == 2 || (budget == 0 && shortest.is_some()) {
                break;
            }
            shortest = self.cycle_through(start, most, &mut budget).or(shortest);
        }
        shortest
    }

    /// The shortest cycle through `start`, if it has fewer than `most` edges. Breadth first.
    fn cycle_through(&mut self, start: Tx, most: usize, budget: &mut usize) -> Option<Vec<Edge<W>>> {
        let mut reached = Vec::new();
        let mut todo = VecDeque::from([(start, 1)]);
        let mut last = None;
        'search: while let Some((node, length)) = todo.pop_front() {
            if length >= most {
                break;
            }
            for &edge in self.graph.from(node) {
                *budget = budget.saturating_sub(1);
                if edge.to == start {
                    last = Some(edge);
                    break 'search;
                }
                let to = edge.to as usize;
                if self.knot_of[to] == self.knot_of[start as usize] && self.parent[to].is_none() {
                    self.parent[to] = Some(edge);
                    reached.push(to);
                    todo.push_back((edge.to, length + 1));
                }
            }
        }
        let mut cycle: Vec<Edge<W>> =
            std::iter::successors(last, |edge| self.parent[edge.from as usize]).collect();
        cycle.reverse();
        for node in reached {
            self.parent[node] = None;
        }
        (!cycle.is_empty()).then_some(cycle)
    }
}
