/** Which bytes of a file a server sent, and which of them twice, from the log of its requests. */

/**
 * What was sent of one file: ranges `[start, end)`, in order and joined where they touch.
 *
 * @param {import('./server.mjs').LogEntry[]} entries  answers with a range each
 */
export function sentRanges(entries) {
  const starts = entries.map(({ range, sentBytes }) => [Number(/^bytes=(\d+)-/.exec(range)[1]), sentBytes]);
  return joined(starts.map(([start, bytes]) => [start, start + bytes]));
}

/** Ranges in order, joined where they touch. */
export function joined(ranges) {
  const list = [];
  for (const [start, end] of ranges.toSorted(([a], [b]) => a - b)) {
    const last = list.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else list.push([start, end]);
  }
  return list;
}

/** Bytes that lie in both lists of joined ranges. */
export function overlap(a, b) {
  let bytes = 0;
  for (const [start, end] of a) {
    for (const [from, to] of b) bytes += Math.max(0, Math.min(end, to) - Math.max(start, from));
  }
  return bytes;
}

/**
 * For each visit but the last, given by the answers that it got: how many of its bytes later ones were sent again.
 * `counted` are the same answers at an earlier moment of each visit, where only what was sent until then counts.
 */
export function sentAgain(visits, counted = visits) {
  return visits.slice(0, -1).map((_, index) => overlap(sentRanges(counted[index]), sentRanges(visits.slice(index + 1).flat())));
}
