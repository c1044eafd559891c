// The state as the master tells it: everything first, then what changes. Views listen.
import { learn } from "./colours.js";

const base = new URL("./", document.baseURI);

export const state = {
  workers: {},
  runs: {},
  samples: [],
  events: [],
  totals: {},
  lost: {},
  trouble: { since: null, text: "" },
  time: 0,
  isKnown: false,
};
export const story = { run: "", rows: null };
export const me = {};
const listeners = new Set();
let source = null;
let ahead = 0;

/** The cluster's time in epoch seconds. */
export function now() {
  return Date.now() / 1000 + ahead;
}

export function listen(handle) {
  listeners.add(handle);
  return () => listeners.delete(handle);
}
function tell(news) {
  for (const handle of [...listeners]) handle(news);
}

export async function get(path) {
  const answer = await fetch(new URL(`api/v1/${path}`, base), { credentials: "same-origin" });
  if (answer.status === 401) {
    location.reload();
    throw new Error("logged out");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

export async function post(path, body = {}) {
  const answer = await fetch(new URL(path.startsWith("/") ? path.slice(1) : `api/v1/${path}`, base), {
    method: "POST",
    credentials: "same-origin",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", "x-octapi": "1" },
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

export async function begin() {
  Object.assign(me, await get("me"));
  connect("");
}

/** Follow the state, and the story of one run if one is named. */
export function connect(run) {
  if (source && story.run === run) return;
  source?.close();
  story.run = run;
  story.rows = null;
  source = new EventSource(new URL(`api/v1/events?run=${encodeURIComponent(run)}`, base));
  source.addEventListener("state", (event) => take(JSON.parse(event.data)));
  source.addEventListener("story", (event) => takeStory(JSON.parse(event.data)));
  source.onerror = () => {
    if (!state.trouble.since) {
      state.trouble = { since: now(), text: "This page's own connection broke; it comes back by itself." };
    }
    tell({ kind: "trouble" });
    if (source.readyState === EventSource.CLOSED) setTimeout(again, 1500);
  };
}

async function again() {
  const answer = await fetch(new URL("api/v1/me", base), { credentials: "same-origin" }).catch(() => null);
  if (answer?.status === 401) return location.reload();
  const run = story.run;
  source = null;
  connect(run);
}

function take(news) {
  if (news.trouble && !news.workers) {
    state.trouble = news.trouble;
    return tell({ kind: "trouble" });
  }
  ahead = news.time ? news.time - Date.now() / 1000 : ahead;
  const flashes = [];
  if (news.full) {
    Object.assign(state, {
      workers: news.workers,
      runs: news.runs,
      samples: news.samples,
      events: news.events,
      trouble: news.trouble,
    });
    for (const row of Object.values(news.runs)) learn(row.run, row.functions ?? []);
  } else {
    state.trouble = { since: null, text: "" };
    for (const [name, row] of Object.entries(news.workers)) {
      const old = state.workers[name];
      if (old && row.beats > old.beats) flashes.push(name);
      state.workers[name] = row;
    }
    for (const name of news.gone) delete state.workers[name];
    Object.assign(state.runs, news.runs);
    for (const row of Object.values(news.runs)) learn(row.run, row.functions ?? []);
    for (const name of news.forgotten) delete state.runs[name];
    state.samples.push(news.sample);
    while (state.samples.length && news.time - state.samples[0][0] > 600) state.samples.shift();
    state.events.push(...news.events);
    state.events.splice(0, Math.max(0, state.events.length - 100));
  }
  if (news.lost) state.lost = news.lost;
  state.totals = news.totals;
  state.time = news.time;
  state.isKnown = state.time > 0;
  tell({ kind: "state", flashes, events: news.full ? [] : news.events, full: Boolean(news.full) });
}

function takeStory(news) {
  if (news.run !== story.run) return;
  story.rows = mergeStory(story.rows, news);
  tell({ kind: "story" });
}

/** Merge news of a story by the same rules as the master's. */
export function mergeStory(old, news) {
  const rows = (news.whole ? null : old) ??
    { workers: new Map(), functions: new Map(), buckets: new Map(), causes: new Map(), pieces: [], output: [] };
  if (news.anew) rows.buckets.clear();
  for (
    const key of [
      "began",
      "first",
      "last",
      "width_s",
      "done",
      "failed",
      "cancelled",
      "retried",
      "is_few",
      "unheard",
      "busy_s",
    ]
  ) rows[key] = news[key];
  for (const row of news.workers) rows.workers.set(row[0], row);
  for (const row of news.functions) rows.functions.set(row[0], row);
  for (const row of news.buckets) rows.buckets.set(`${row[0]}|${row[1]}`, row);
  for (const row of news.causes) rows.causes.set(row.key, row);
  if (!news.is_few) rows.pieces = [];
  rows.pieces.push(...news.pieces);
  rows.output.push(...news.output);
  rows.output.splice(0, Math.max(0, rows.output.length - 300));
  return rows;
}
