// One run: how far, how fast, who did what, and what went wrong.
import * as charts from "./charts.js";
import { colour, learn } from "./colours.js";
import { confirmed, fill, h, keyed, progress, say, table, text } from "./dom.js";
import { clock, count, moment, percent, plural, rate, span } from "./format.js";
import { connect, get, listen, me, mergeStory, post, state, story } from "./state.js";

export async function open(main, { name }) {
  connect(name);
  let kept = null;
  const title = h("h1", {}, "Run");
  const head = h("p", { class: "muted facts" });
  const stop = h(
    "button",
    { type: "button", class: "danger", onclick: () => stopRun(name), hidden: true },
    "Stop this run",
  );
  const bar = h(
    "div",
    {
      class: "bar big",
      role: "progressbar",
      "aria-label": "Jobs with an outcome",
      "aria-valuemin": "0",
      "aria-valuemax": "100",
    },
    h("i"),
    h("b"),
    h("u"),
  );
  const barWords = h("p", { class: "bar-words" });
  const numbers = h("dl", { class: "totals run-totals" });
  const sentence = h("p", { class: "sentence" });
  const failures = h("section", { class: "failures", "aria-label": "Failures" });
  const running = h("section", { "aria-label": "Running now" });
  const time = h("section", { class: "card", "aria-label": "Timeline" });
  const who = h("section", { class: "card", "aria-label": "Who did what" });
  const what = h("section", { class: "card", "aria-label": "What each function took" });
  const output = h("pre", { class: "output", tabindex: "0", "aria-label": "Output of the jobs" });
  const courses = h("section", { class: "card", hidden: true, "aria-label": "Load and memory of the workers" });
  const outputCard = h(
    "section",
    { class: "card", hidden: true, "aria-label": "Output" },
    h("h2", {}, "Output"),
    output,
  );
  fill(
    main,
    h("div", { class: "row between" }, h("div", {}, title, head), stop),
    h("section", { class: "card" }, bar, barWords, numbers, sentence),
    failures,
    running,
    time,
    courses,
    who,
    what,
    outputCard,
  );
  let drawn = 0;
  const zoom = {
    from: null,
    to: null,
    draw: () => {
      drawn = 0;
      update(true);
    },
  };

  const update = (force) => {
    const row = state.runs[name] ?? kept;
    const rows = state.runs[name] ? story.rows : kept?.rows;
    if (!row) return;
    text(title, row.script || "Script");
    text(
      head,
      `${row.user ?? "?"} on ${row.host ?? "?"} · ${row.run} · began ${moment(row.since)}${
        row.ended ? ` · ended ${moment(row.ended)}` : ""
      }${row.is_detached ? " · the script has gone, its jobs go on" : ""}`,
    );
    stop.hidden = Boolean(row.ended) || me.kind !== "act";
    showProgress(bar, barWords, row);
    showNumbers(numbers, row);
    text(sentence, row.sentence);
    showRunning(running, name);
    if (rows && (force || performance.now() - drawn > 900)) {
      drawn = performance.now();
      showFailures(failures, rows, row);
      learn(name, [...(row.functions ?? []), ...rows.functions.keys()]);
      showTimeline(time, name, rows, row, zoom);
      showWho(who, rows, row);
      showFunctions(what, rows, row);
      showOutput(outputCard, output, rows);
    }
  };
  const quit = listen((news) => update(news.kind === "story" && !drawn));
  if (!state.runs[name]) {
    try {
      const found = await get(`runs/${encodeURIComponent(name)}`);
      kept = { ...found, rows: mergeStory(null, found.story) };
    } catch (error) {
      if (!state.runs[name]) {
        fill(
          main,
          h(
            "div",
            { class: "card empty" },
            h("h1", {}, "No such run"),
            h("p", {}, error.message),
            h("p", {}, h("a", { href: "#/runs", class: "button" }, "All runs")),
          ),
        );
      }
    }
  }
  update(true);
  const drawCourses = () => showCourses(courses, name, () => state.runs[name] ?? kept);
  drawCourses();
  const again = setInterval(() => {
    if (!document.hidden && state.runs[name] && !state.runs[name].ended) drawCourses();
  }, 10000);
  return () => {
    clearInterval(again);
    quit();
    connect("");
  };
}

async function stopRun(name) {
  if (
    !await confirmed(
      "Stop this run?",
      "Its jobs that wait are cancelled, and those that run are stopped. The script is told.",
      "Stop it",
    )
  ) return;
  try {
    await post(`runs/${encodeURIComponent(name)}/stop`);
    say("The run is being stopped.");
  } catch (error) {
    alert(error.message);
  }
}

function showProgress(bar, words, row) {
  const total = Math.max(row.total, 1);
  progress(bar, row);
  bar.setAttribute("aria-valuenow", Math.round((100 * row.finished) / total));
  const left = row.eta_s ? `, about ${span(row.eta_s)} left (until ${clock(Date.now() / 1000 + row.eta_s)})` : "";
  text(
    words,
    row.ended ? `${plural(row.finished, "job")}, over` : `${count(row.finished)} of ${plural(row.total, "job")}${left}`,
  );
}

function showNumbers(place, row) {
  const rows = [
    ["done", count(row.done)],
    ["failed", count(row.failed)],
    ["cancelled", count(row.cancelled)],
    ["tried again", count(row.retried)],
    ["running", count(row.running)],
    ["waiting", count(row.waiting)],
    ["a second", rate(row.ended ? (row.wall_s ? row.finished / row.wall_s : 0) : row.rate)],
    ["speed-up", row.speedup ? `${row.speedup.toFixed(1)}×` : "–"],
    ["efficiency", percent(row.efficiency)],
  ];
  keyed(
    place,
    rows,
    (cell) => cell[0],
    ([title]) => h("div", { class: `total ${title}` }, h("dt", {}, title), h("dd")),
    (node, [title, value]) => {
      text(node.querySelector("dd"), value);
      if (title === "failed") node.classList.toggle("bad", row.failed > 0);
    },
  );
}

function showRunning(place, name) {
  const rows = Object.values(state.workers).flatMap((worker) =>
    worker.lights.filter((light) => light[0] === name).map((light) => ({
      worker: worker.name,
      what: light[1],
      batch: light[2],
    }))
  );
  place.hidden = rows.length === 0 || rows.length > 64;
  if (place.hidden) return;
  if (!place.firstChild) place.append(h("h2", {}, "Running now"), h("ul", { class: "chips" }));
  keyed(
    place.querySelector("ul"),
    rows,
    (row) => `${row.worker} ${row.batch}`,
    (row) =>
      h(
        "li",
        { class: "chip" },
        h("i", { class: "dot", style: { background: colour(name, row.what) } }),
        `${row.what} on ${row.worker}`,
        me.kind === "act"
          ? h("button", {
            type: "button",
            class: "quiet small",
            "aria-label": `Stop ${row.what} on ${row.worker}`,
            onclick: () => stopJob(name, row),
          }, "Stop")
          : null,
      ),
    () => null,
  );
}

async function stopJob(name, row) {
  try {
    await post(`runs/${encodeURIComponent(name)}/jobs/stop`, { batch: row.batch });
    say("The job is being stopped.");
  } catch (error) {
    alert(error.message);
  }
}

function showFailures(place, rows, row) {
  const causes = [...rows.causes.values()].sort((a, b) => b.count - a.count);
  place.hidden = causes.length === 0;
  if (place.hidden) return;
  if (!place.firstChild) place.append(h("h2", {}), h("div", { class: "causes" }));
  text(place.querySelector("h2"), `${plural(row.failed, "job")} failed, for ${plural(causes.length, "reason")}`);
  keyed(
    place.querySelector(".causes"),
    causes,
    (cause) => cause.key,
    (cause) =>
      h(
        "details",
        { class: "card cause", open: causes.length === 1 },
        h(
          "summary",
          {},
          h("b", { class: "times" }),
          " ",
          h("span", { class: "kind" }, cause.kind || "Other"),
          " ",
          h("span", { class: "message" }, cause.message || "causes that are not told apart"),
          " ",
          h("span", { class: "muted" }, [cause.function, cause.line].filter(Boolean).join(" at ")),
        ),
        h(
          "dl",
          { class: "pairs" },
          pair("first with", cause.arguments && `${cause.function}(${cause.arguments})`),
          pair("on", cause.worker),
          pair("at", cause.at ? moment(cause.at) : ""),
        ),
        cause.traceback
          ? h("pre", { class: "traceback", tabindex: "0", "aria-label": "Traceback" }, cause.traceback)
          : null,
        cause.output
          ? h(
            "div",
            {},
            h("h3", {}, "It had printed"),
            h("pre", { class: "output", tabindex: "0", "aria-label": "What it had printed" }, cause.output),
          )
          : null,
      ),
    (node, cause) => text(node.querySelector(".times"), `${count(cause.count)}×`),
  );
}

function pair(name, value) {
  return value ? h("div", {}, h("dt", {}, name), h("dd", {}, value)) : null;
}

function showTimeline(place, name, rows, row, zoom) {
  if (!rows.workers.size) {
    return fill(place, h("p", { class: "muted" }, "The timeline begins with the first job that ends."));
  }
  const lost = state.events.filter((event) =>
    event.kind === "left" && rows.workers.has(event.name) && event.at >= rows.began &&
    event.at <= (row.ended ?? Infinity)
  );
  const svg = charts.timeline(name, rows, (worker) => state.workers[worker]?.slots, {
    width: place.clientWidth - 44,
    lost,
    ...zoom,
  });
  const travels = rows.pieces.some((piece) => piece[5] > 1);
  const title = rows.is_few
    ? `Who did what: each bar is ${travels ? "one job, or some that travelled together" : "a job"}`
    : `How busy each worker was, in steps of ${span(rows.width_s)}`;
  const legend = rows.is_few
    ? h(
      "ul",
      { class: "chips" },
      [...rows.functions.keys()].slice(0, 12).map((what) =>
        h("li", { class: "chip" }, h("i", { class: "dot", style: { background: colour(name, what) } }), what)
      ),
      rows.failed ? h("li", { class: "chip" }, h("i", { class: "dot failed" }), "failed") : null,
    )
    : null;
  fill(place, charts.framed(title, svg, `timeline-${name}`, zooming(svg, rows, zoom), legend));
  return null;
}

/** Buttons and a drag with the mouse that show a part of the time larger. */
function zooming(svg, rows, zoom) {
  const first = (rows.first ?? rows.began) - rows.began,
    last = Math.max((rows.last ?? rows.began) - rows.began, first + 0.001);
  const go = (from, to) => {
    Object.assign(
      zoom,
      to - from >= last - first ? { from: null, to: null } : { from: Math.max(first, from), to: Math.min(last, to) },
    );
    zoom.draw();
  };
  const [from, to] = [zoom.from ?? first, zoom.to ?? last];
  const middle = (from + to) / 2, half = (to - from) / 2;
  let start = null;
  svg.addEventListener("pointerdown", (event) => {
    start = svg.__time(event);
  });
  svg.addEventListener("pointerup", (event) => {
    const end = svg.__time(event);
    if (start !== null && Math.abs(end - start) > (to - from) / 50) go(Math.min(start, end), Math.max(start, end));
    start = null;
  });
  const button = (label, words, action, disabled) =>
    h(
      "button",
      { type: "button", class: "quiet small", "aria-label": label, title: label, disabled, onclick: action },
      words,
    );
  const isWhole = zoom.from === null;
  return h(
    "div",
    { class: "row tight zoom" },
    button("Show a shorter time", "+", () => go(middle - half / 2, middle + half / 2)),
    button("Show a longer time", "−", () => go(middle - 2 * half, middle + 2 * half), isWhole),
    button("Earlier", "‹", () => go(from - half, to - half), isWhole || from <= first),
    button("Later", "›", () => go(from + half, to + half), isWhole || to >= last),
    button("Show the whole run", "whole", () => go(first, last), isWhole),
    h("span", { class: "muted" }, isWhole ? "or drag over a part" : `${span(from - first)} to ${span(to - first)}`),
  );
}

/** How the workers were meanwhile; what is not known is not drawn. */
async function showCourses(place, name, rowOf) {
  let found;
  try {
    found = (await get(`runs/${encodeURIComponent(name)}/courses`)).courses;
  } catch {
    return;
  }
  const drawn = Object.entries(found).filter(([, rows]) => rows.length > 1);
  place.hidden = drawn.length === 0;
  if (place.hidden || !rowOf()) return;
  const all = drawn.flatMap(([, rows]) => rows.map((row) => row[0]));
  const [from, to] = [Math.min(...all), Math.max(...all)];
  fill(
    place,
    h("h2", {}, "Load and memory of the workers meanwhile"),
    charts.courseKey(),
    h(
      "div",
      { class: "plots small-plots" },
      drawn.map(([worker, rows]) => charts.framed(worker, charts.course(rows, from, to), `course-${worker}`)),
    ),
  );
}

/** Columns of tables whose rows hold a name, jobs, failures and seconds. */
const SUMS = [
  { title: "Jobs", number: true, value: (r) => r[1], show: (r) => count(r[1]) },
  { title: "Failed", number: true, value: (r) => r[2], show: (r) => count(r[2]) },
  {
    title: "Sec/Job",
    number: true,
    value: (r) => (r[1] ? r[3] / r[1] : 0),
    show: (r) => (r[1] ? (r[3] / r[1]).toPrecision(3) : "–"),
  },
];

function showFunctions(place, rows, row) {
  const list = [...rows.functions.values()].sort((a, b) => b[3] - a[3]);
  place.hidden = list.length === 0;
  fill(
    place,
    table(
      "What each function took",
      [
        { title: "Function", short: true, value: (r) => r[0] },
        ...SUMS,
        { title: "Together", number: true, value: (r) => r[3], show: (r) => span(r[3]) },
        {
          title: "Share",
          number: true,
          value: (r) => (row.busy_s ? r[3] / row.busy_s : 0),
          show: (r) => percent(row.busy_s ? r[3] / row.busy_s : null),
        },
      ],
      list,
      `functions-${row.run}`,
    ),
  );
}

function showWho(place, rows, row) {
  const list = [...rows.workers.values()].sort((a, b) => b[1] - a[1]);
  fill(
    place,
    table(
      "Who did what",
      [
        { title: "Node", value: (r) => r[0] || "(nowhere)" },
        ...(row.ended ? [] : [{ title: "CPUs", number: true, value: (r) => state.workers[r[0]]?.slots ?? "" }]),
        ...SUMS,
        { title: "Node Time Sec", number: true, value: (r) => r[3], show: (r) => r[3].toFixed(1) },
      ],
      list,
      `run-${row.run}`,
    ),
    h(
      "p",
      { class: "muted" },
      `Total job time: ${row.busy_s.toFixed(3)} sec, wall time: ${row.wall_s.toFixed(3)} sec, speed-up: ${
        (row.speedup ?? 0).toFixed(3)
      }`,
    ),
  );
}

function showOutput(card, place, rows) {
  card.hidden = rows.output.length === 0;
  const isAtEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 30;
  const lines = rows.output.map(([worker, what, stream, line]) =>
    h("span", { class: stream }, h("b", {}, `${worker} ${what} `), `${line}\n`)
  );
  if (rows.unheard) {
    lines.push(h("i", {}, `… ${plural(rows.unheard, "more job")} printed; only some lines are shown\n`));
  }
  fill(place, lines);
  if (isAtEnd) place.scrollTop = place.scrollHeight;
}
