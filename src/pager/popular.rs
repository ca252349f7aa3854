//! Which of many units are kept in a few slots: those that were used most, of late more than long ago.
//!
//! A unit's score is the sum of its uses, each worth half as much as one that came [`HALF_LIFE`] uses of every unit
//! later. Instead of letting all scores fade, later uses are worth more, so that the order of two units changes only
//! when one of them is used. A unit comes in where the least of those that are in has a lower score: popular ones
//! stay while many that are used now and then pass by, and leave when the subject changes.

/// Uses of every unit, on average, after which a use counts half.
const HALF_LIFE: f64 = 8.0;

/// The worth of a use at which all scores are divided by it, far from the end of f32.
const WORTH_MAX: f64 = (1u64 << 60) as f64;

/// Stands for no slot.
const NONE: u32 = u32::MAX;

/// A unit.
#[derive(Clone, Copy)]
struct Unit {
    score: f32,
    /// Its slot, and its place in the heap, if it has one.
    slot: u32,
    place: u32,
}

/// The policy over some units and slots.
pub struct Popular {
    units: Vec<Unit>,
    /// Units that have a slot, as a binary heap with the least score on top.
    heap: Vec<u32>,
    /// Slots without a unit.
    free: Vec<u32>,
    /// What a use is worth now, and how much more after each.
    worth: f64,
    growth: f64,
}

impl Popular {
    /// No unit was used, and none has a slot.
    pub fn new(units: usize, slots: usize) -> Popular {
        Popular {
            units: vec![Unit { score: 0.0, slot: NONE, place: NONE }; units],
            heap: Vec::with_capacity(slots),
            free: (0..slots as u32).rev().collect(),
            worth: 1.0,
            growth: (1.0 / (HALF_LIFE * units.max(1) as f64)).exp2(),
        }
    }

    /// Memory that [`Popular::new`] takes.
    pub fn bytes(units: usize, slots: usize) -> usize {
        units * size_of::<Unit>() + 2 * slots * size_of::<u32>()
    }

    /// Counts some uses of a unit.
    pub fn count(&mut self, unit: usize, uses: usize) {
        self.units[unit].score += (self.worth * uses as f64) as f32;
        self.worth *= self.growth.powi(uses as i32);
        if self.worth > WORTH_MAX {
            self.units.iter_mut().for_each(|unit| unit.score /= self.worth as f32);
            self.worth = 1.0;
        }
        if self.slot(unit).is_some() {
            self.sink(self.units[unit].place as usize);
        }
    }

    /// The slot of a unit.
    pub fn slot(&self, unit: usize) -> Option<usize> {
        let slot = self.units[unit].slot;
        (slot != NONE).then_some(slot as usize)
    }

    /// A slot for a unit that has none, if it is worth one: without a free one the least popular unit loses its own. It is
    /// free until the unit is kept there.
    pub fn room(&mut self, unit: usize) -> Option<usize> {
        if self.free.is_empty() {
            let least = *self.heap.first()?;
            if self.units[least as usize].score >= self.units[unit].score {
                return None;
            }
            self.heap.swap_remove(0);
            if !self.heap.is_empty() {
                self.sink(0);
            }
            self.free.push(self.units[least as usize].slot);
            (self.units[least as usize].slot, self.units[least as usize].place) = (NONE, NONE);
        }
        self.free.last().map(|slot| *slot as usize)
    }

    /// Gives a unit the slot that [`Popular::room`] told last.
    pub fn keep(&mut self, unit: usize) {
        assert!(self.slot(unit).is_none(), "a unit has one slot");
        self.units[unit].slot = self.free.pop().expect("there is room");
        self.heap.push(unit as u32);
        self.rise(self.heap.len() - 1);
    }

    /// Puts the unit at a place of the heap there, or above, where it belongs.
    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.is_less(place, (place - 1) / 2) {
            self.heap.swap(place, (place - 1) / 2);
            self.seat(place);
            place = (place - 1) / 2;
        }
        self.seat(place);
    }

    /// Puts the unit at a place of the heap there, or below, where it belongs.
    fn sink(&mut self, mut place: usize) {
        loop {
            let children = [2 * place + 1, 2 * place + 2].into_iter().filter(|child| *child < self.heap.len());
            let least = children.fold(place, |least, child| if self.is_less(child, least) { child } else { least });
            if least == place {
                return self.seat(place);
            }
            self.heap.swap(place, least);
            self.seat(place);
            place = least;
        }
    }

    fn is_less(&self, a: usize, b: usize) -> bool {
        let score = |place: usize| self.units[self.heap[place] as usize].score;
        score(a) < score(b)
    }

    /// Tells the unit at a place of the heap where it is.
    fn seat(&mut self, place: usize) {
        self.units[self.heap[place] as usize].place = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::random::Noise;

    const UNITS: usize = 128;
    const USED: usize = 8;
    const SLOTS: usize = 32;

    /// The `USED` units of the most weight, by weights of Zipf and chance: draws without putting back, by Gumbel's trick.
    fn draw(order: &[usize], noise: &mut Noise) -> Vec<usize> {
        let mut keyed: Vec<(f64, usize)> = (order.iter().enumerate())
            .map(|(rank, unit)| {
                let uniform = ((noise.word() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
                (-((rank + 1) as f64).ln() - (-uniform.ln()).ln(), *unit)
            })
            .collect();
        keyed.sort_by(|a, b| b.0.total_cmp(&a.0));
        keyed[..USED].iter().map(|(_, unit)| *unit).collect()
    }

    fn shuffled(noise: &mut Noise) -> Vec<usize> {
        let mut order: Vec<usize> = (0..UNITS).collect();
        (1..UNITS).rev().for_each(|last| order.swap(last, noise.word() as usize % (last + 1)));
        order
    }

    /// The share of uses that find their unit in a slot, over so many tokens.
    fn hits(popular: &mut Popular, order: &[usize], tokens: usize, noise: &mut Noise) -> f64 {
        let mut hits = 0;
        for unit in (0..tokens).flat_map(|_| draw(order, noise)) {
            popular.count(unit, 1);
            if popular.slot(unit).is_some() {
                hits += 1;
            } else if popular.room(unit).is_some() {
                popular.keep(unit);
            }
        }
        hits as f64 / (tokens * USED) as f64
    }

    /// The same where the units that are likeliest have the slots.
    fn best(order: &[usize], noise: &mut Noise) -> f64 {
        let tokens = 4000;
        let found = (0..tokens).flat_map(|_| draw(order, noise)).filter(|unit| order[..SLOTS].contains(unit));
        found.count() as f64 / (tokens * USED) as f64
    }

    #[test]
    fn popular_units_stay_and_a_change_of_subject_is_followed() {
        let mut noise = Noise::new(1);
        let mut popular = Popular::new(UNITS, SLOTS);
        for subject in 0..4 {
            let order = shuffled(&mut noise);
            let early = hits(&mut popular, &order, 400, &mut noise);
            let late = hits(&mut popular, &order, 2000, &mut noise);
            let best = best(&order, &mut noise);
            println!("subject {subject}: {early:.3} at first, then {late:.3}; {best:.3} at best");
            assert!(best > 0.5, "use is skewed: {best}");
            assert!(early > 0.8 * best, "400 tokens into subject {subject}: {early} of {best}");
            assert!(late > 0.96 * best, "later: {late} of {best}");
        }
        let before: Vec<bool> = (0..UNITS).map(|unit| popular.slot(unit).is_some()).collect();
        for unit in 0..UNITS {
            popular.count(unit, 1);
            if popular.slot(unit).is_none() && popular.room(unit).is_some() {
                popular.keep(unit);
            }
        }
        let stayed = (0..UNITS).filter(|unit| before[*unit] && popular.slot(*unit).is_some()).count();
        assert!(stayed > SLOTS * 9 / 10, "what passes by once displaces little: {stayed} of {SLOTS} stayed");
    }

    #[test]
    fn slots_are_those_of_a_plain_list() {
        for seed in 0..200 {
            let mut noise = Noise::new(seed);
            let (units, slots) = (1 + noise.word() as usize % 20, noise.word() as usize % 8);
            let mut popular = Popular::new(units, slots);
            let mut held: Vec<usize> = Vec::new();
            // Far enough that what a use is worth begins anew.
            for _ in 0..units * 600 {
                let unit = (noise.word() as usize % units).min(noise.word() as usize % units);
                popular.count(unit, 1 + noise.word() as usize % 4);
                assert_eq!(popular.slot(unit).is_some(), held.contains(&unit), "seed {seed}");
                if held.contains(&unit) {
                    continue;
                }
                let score = |unit: &usize| popular.units[*unit].score;
                let least = held.iter().copied().min_by(|a, b| score(a).total_cmp(&score(b)));
                let is_worth_it = match least {
                    _ if held.len() < slots => true,
                    Some(least) => score(&least) < score(&unit),
                    None => false,
                };
                if is_worth_it && held.len() == slots {
                    held.retain(|other| Some(*other) != least);
                }
                let slot = popular.room(unit);
                assert_eq!(slot.is_some(), is_worth_it, "seed {seed}");
                // A unit that could not be read gets no slot.
                if slot.is_some() && noise.word() & 7 > 0 {
                    popular.keep(unit);
                    held.push(unit);
                    assert_eq!(popular.slot(unit), slot);
                }
                let mut taken: Vec<usize> = held.iter().filter_map(|unit| popular.slot(*unit)).collect();
                taken.sort_unstable();
                taken.dedup();
                assert_eq!(taken.len(), held.len(), "a slot of its own for each");
                assert!(taken.iter().all(|slot| *slot < slots));
            }
        }
    }
}
