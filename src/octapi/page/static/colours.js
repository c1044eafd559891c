// One colour for each computation: eight that people with any kind of colour vision tell apart, then patterns of them.
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#b8538f", "#9a6b00", "#2f8fc9", "#5b50a8", "#6b6b6b"];
const DARK = ["#56b4e9", "#ff8a4c", "#34d3a2", "#f09ac9", "#f2c14e", "#a7d8ff", "#b3a7ff", "#c4c4c4"];
const dark = matchMedia("(prefers-color-scheme: dark)");

export function isDark() {
  return dark.matches;
}
export function onTheme(handle) {
  dark.addEventListener("change", handle);
}

/** Return a number that is the same for a name at each visit. */
function hashed(name) {
  let found = 7;
  for (const letter of name) found = (found * 31 + letter.codePointAt(0)) >>> 0;
  return found;
}

const runs = new Map();

/** Tell which functions a run has, so that each gets its own colour: the same at each visit, whoever comes first. */
export function learn(run, functions) {
  const names = [...new Set(functions)].sort();
  const key = names.join("\n");
  if (runs.get(run)?.key === key) return;
  const taken = new Map(), numbers = new Map();
  for (const name of names) {
    let number = hashed(name) % LIGHT.length;
    for (let tried = 0; taken.has(number) && tried < 3 * LIGHT.length; tried++) {
      number = tried < LIGHT.length ? (number + 1) % LIGHT.length : number + LIGHT.length;
    }
    taken.set(number, name);
    numbers.set(name, number);
  }
  runs.set(run, { key, numbers });
}

/** Return the number of a computation's colour. */
export function number(run, name) {
  return runs.get(run)?.numbers.get(name) ?? hashed(name) % LIGHT.length;
}

/** Return its colour; more functions than there are colours get lighter and darker ones. */
export function colour(run, name) {
  const place = number(run, name), plain = (isDark() ? DARK : LIGHT)[place % LIGHT.length];
  if (place < LIGHT.length) return plain;
  return `color-mix(in srgb, ${plain} 60%, ${place < 2 * LIGHT.length ? "black" : "white"})`;
}
export function at(place) {
  return (isDark() ? DARK : LIGHT)[place % LIGHT.length];
}
export function read(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
