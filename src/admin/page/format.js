// Numbers, times and sizes for people.

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const count = (number) => (Math.abs(number) < 100_000 ? plain.format(number) : short.format(number));

export const whole = (number) => plain.format(number);

export function rate(number) {
  if (Number.isNaN(number)) return '–';
  return number > 0 && number < 10 ? number.toFixed(1) : count(Math.round(number));
}

export function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  while (number >= 1024 && at < units.length - 1) {
    number /= 1024;
    at += 1;
  }
  return `${at === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[at]}`;
}

export function duration(seconds) {
  if (seconds < 1) return '< 1 s';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** `2026-11-23 04:49:48`, in the reader's time zone. */
export function time(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return String(iso);
  const two = (number) => String(number).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export const sum = (counts) => Object.values(counts || {}).reduce((all, one) => all + one, 0);

/** `3 routes`, `1 route`. */
export const many = (number, one, more = `${one}s`) => `${whole(number)} ${number === 1 ? one : more}`;
