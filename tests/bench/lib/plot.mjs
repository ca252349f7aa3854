/** One series of points as an SVG, with axes from zero. */

const WIDTH = 640;
const HEIGHT = 360;
const MARGIN = { left: 60, right: 20, top: 40, bottom: 50 };

/** A round step that divides `most` into about five. */
function step(most) {
  const rough = most / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

const escape = (text) => text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);

/** @param {{title: string, x: string, y: string, points: [number, number][]}} figure */
export function plot({ title, x, y, points }) {
  const sorted = [...points].sort((a, b) => a[0] - b[0]);
  const most = [Math.max(1, ...sorted.map((p) => p[0])), Math.max(1, ...sorted.map((p) => p[1])) * 1.1];
  const toX = (value) => MARGIN.left + (value / most[0]) * (WIDTH - MARGIN.left - MARGIN.right);
  const toY = (value) => HEIGHT - MARGIN.bottom - (value / most[1]) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const parts = [];
  const text = (at, content, anchor = 'middle', extra = '') => parts.push(`<text x="${at[0]}" y="${at[1]}" text-anchor="${anchor}"${extra}>${escape(content)}</text>`);
  const ticks = (limit) => Array.from({ length: Math.floor(limit / step(limit)) + 1 }, (_, index) => +(index * step(limit)).toPrecision(6));
  for (const value of ticks(most[1])) {
    parts.push(`<path d="M${MARGIN.left} ${toY(value)}H${WIDTH - MARGIN.right}" stroke="#ddd"/>`);
    text([MARGIN.left - 8, toY(value) + 4], String(value), 'end');
  }
  for (const value of ticks(most[0])) text([toX(value), HEIGHT - MARGIN.bottom + 18], String(value));
  parts.push(`<polyline points="${sorted.map(([a, b]) => `${toX(a)},${toY(b)}`).join(' ')}" fill="none" stroke="#1a56b0" stroke-width="2"/>`);
  for (const [a, b] of sorted) parts.push(`<circle cx="${toX(a)}" cy="${toY(b)}" r="4" fill="#1a56b0"/>`);
  text([WIDTH / 2, 22], title, 'middle', ' font-size="15"');
  text([WIDTH / 2, HEIGHT - 10], x);
  text([16, HEIGHT / 2], y, 'middle', ` transform="rotate(-90 16 ${HEIGHT / 2})"`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" fill="#222"><rect width="100%" height="100%" fill="#fff"/>${parts.join('')}</svg>\n`;
}
