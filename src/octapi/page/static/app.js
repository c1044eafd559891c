// Views by the part of the address after '#', the banner, and what is on every view.
import * as cluster from "./cluster.js";
import * as devices from "./devices.js";
import { fill, h, text } from "./dom.js";
import { clock, span } from "./format.js";
import * as join from "./join.js";
import * as run from "./run.js";
import * as runs from "./runs.js";
import { begin, listen, me, now, post, state } from "./state.js";

const main = document.getElementById("main");
const trouble = document.getElementById("trouble");
let close = null;

function route() {
  const [, view = "", name = ""] = location.hash.split("/");
  if (view === "runs" && name) return ["runs", "Run", run, { name: decodeURIComponent(name) }];
  if (view === "runs") return ["runs", "Runs", runs, {}];
  if (view === "devices") return ["devices", "Devices", devices, { name: decodeURIComponent(name) }];
  if (view === "join") return ["join", "Join", join, {}];
  return ["cluster", "Cluster", cluster, { projector: view === "projector" }];
}

async function show() {
  const [view, title, module, options] = route();
  (await close)?.();
  document.body.classList.toggle("projector", Boolean(options.projector));
  for (const link of document.querySelectorAll("nav a[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${title} · ${me.cluster || "OctaPi"}`;
  fill(main);
  close = module.open(main, options);
}

function showTrouble() {
  const { since, text: words } = state.trouble;
  trouble.hidden = !since;
  document.body.classList.toggle("stale", Boolean(since));
  document.getElementById("live").classList.toggle("off", Boolean(since));
  text(document.querySelector("#live span"), since ? "not live" : "live");
  if (since) {
    text(
      trouble,
      `The master does not answer since ${clock(since)} (${
        span(Math.max(0, now() - since))
      }). What you see is from then; this page comes back by itself. ${words}`,
    );
  }
}

document.getElementById("projector-button").addEventListener("click", () => {
  location.hash = "#/projector";
  document.documentElement.requestFullscreen?.().catch(() => null);
});
document.getElementById("logout").addEventListener("click", async () => {
  await post("/logout");
  location.reload();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.classList.contains("projector") && !document.fullscreenElement) {
    location.hash = "#/";
  }
});
addEventListener("fullscreenchange", () => {
  if (!document.fullscreenElement && document.body.classList.contains("projector")) location.hash = "#/";
});
addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
listen(showTrouble);
setInterval(showTrouble, 1000);

try {
  await begin();
  text(document.getElementById("cluster-name"), me.cluster);
  text(document.getElementById("foot-facts"), `OctaPi ${me.release}${me.kind === "act" ? "" : " · you may look"}`);
  document.getElementById("dask-link").hidden = !me.has_dask;
  await show();
} catch (error) {
  fill(main, h("div", { class: "card empty" }, h("h1", {}, "This page cannot be shown"), h("p", {}, error.message)));
}
