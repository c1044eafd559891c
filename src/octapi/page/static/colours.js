// One colour for each computation: eight that people with any kind of colour vision tell apart, then patterns of them.
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#b8538f", "#9a6b00", "#2f8fc9", "#5b50a8", "#6b6b6b"];
const DARK = ["#56b4e9", "#ff8a4c", "#34d3a2", "#f09ac9", "#f2c14e", "#a7d8ff", "#b3a7ff", "#c4c4c4"];
const known = new Map();
const dark = matchMedia("(prefers-color-scheme: dark)");

export function isDark() { return dark.matches; }
export function onTheme(handle) { dark.addEventListener("change", handle); }

/** Return the number of a computation's colour, always the same while the page is open. */
export function number(run, name) {
  const key = `${run} ${name}`;
  if (!known.has(key)) known.set(key, known.size % LIGHT.length);
  return known.get(key);
}

export function colour(run, name) { return (isDark() ? DARK : LIGHT)[number(run, name)]; }
export function at(place) { return (isDark() ? DARK : LIGHT)[place % LIGHT.length]; }
export function read(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
