// Numbers as people read them. Sizes are decimal (1 MB = 10^6 bytes), as file managers show them.

const SIZE_UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const;

/** "812 bytes", "3.4 MB", "770 MB", "4.1 GB". */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < SIZE_UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${decimal(value, unit === 0 ? 0 : 1)} ${SIZE_UNITS[unit]}`;
}

/** One decimal while it tells something: "7.3", but "73" and "7,300". */
export function decimal(value: number, digits = 1): string {
  const shown = Math.abs(value) < 9.95 ? digits : Math.abs(value) < 99.5 ? Math.min(digits, 1) : 0;
  return value.toLocaleString('en', { maximumFractionDigits: shown });
}

/** "under a second", "8 s", "3 min", "1 h 20 min". */
export function duration(seconds: number): string {
  if (seconds < 1) return 'under a second';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A latency: "40 ms", "0.8 s", "12 s". */
export function latency(milliseconds: number): string {
  return milliseconds < 100 ? `${Math.round(milliseconds)} ms` : `${decimal(milliseconds / 1000)} s`;
}

/** "1 token", "12 tokens". */
export function plural(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}
