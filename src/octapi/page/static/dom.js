// Elements from data. Whatever comes from the cluster becomes text, never markup.

/** Make an element: h("p", {class: "x", onclick: f}, "text", child, ...). Unknown values become text. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  set(node, attributes);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(node, attributes);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") { for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text); }
    else node.setAttribute(name, value === true ? "" : String(value));
  }
}

export function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Show in a bar how many of a run's jobs ended well, failed and were cancelled. */
export function progress(bar, row) {
  const total = Math.max(row.total, 1);
  const [done, failed, cancelled] = bar.children;
  for (const [part, jobs] of [[done, row.done], [failed, row.failed], [cancelled, row.cancelled]]) {
    part.style.width = `${(100 * jobs) / total}%`;
  }
  bar.title = `${row.done} done, ${row.failed} failed, ${row.cancelled} cancelled, of ${row.total}`;
}

export function text(node, value) {
  const now = String(value);
  if (node.textContent !== now) node.textContent = now;
}

/** Keep a list of child elements in step with rows: make, update and remove by key. */
export function keyed(parent, rows, key, make, update) {
  const known = parent.__known ?? (parent.__known = new Map());
  const seen = new Set();
  let place = parent.firstChild;
  for (const row of rows) {
    const name = key(row);
    seen.add(name);
    let node = known.get(name);
    if (!node) {
      node = make(row);
      known.set(name, node);
      parent.insertBefore(node, place);
    } else if (node !== place) parent.insertBefore(node, place);
    else place = place.nextSibling;
    update(node, row);
  }
  for (const [name, node] of known) {
    if (!seen.has(name)) {
      node.remove();
      known.delete(name);
    }
  }
}

let dialogNumber = 0;

/** Ask before something that cannot be undone. */
export function confirmed(title, words, action) {
  return new Promise((resolve) => {
    const id = `dialog-${++dialogNumber}`;
    const done = (answer) => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    const dialog = h(
      "dialog",
      { "aria-labelledby": id },
      h("h2", { id }, title),
      h("p", {}, words),
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", onclick: () => done(false) }, "Leave it"),
        h("button", { type: "button", class: "danger", onclick: () => done(true) }, action),
      ),
    );
    dialog.addEventListener("cancel", () => done(false));
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function say(words) {
  text(document.getElementById("said"), words);
}

/** Offer data as a file. */
export function download(name, data, type) {
  const address = URL.createObjectURL(data instanceof Blob ? data : new Blob([data], { type }));
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** CSV in which no cell is taken for a formula by a spreadsheet. */
export function csv(titles, rows) {
  const cell = (value) => {
    let words = value === null || value === undefined ? "" : String(value);
    if (/^[=+\-@;\t\r\n|%]/.test(words) && !/^[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$/i.test(words)) words = `'${words}`;
    return /[",;\t\n\r]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
  };
  return [titles, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

// by which column each table is sorted, by its name: [title, 1 or -1]
const orders = new Map();

function sorted(rows, column, direction) {
  const key = (row) => column.value(row) ?? "";
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return direction *
      (typeof x === "number" && typeof y === "number"
        ? x - y
        : String(x).localeCompare(String(y), undefined, { numeric: true }));
  });
}

/** A table that can be saved and sorted; columns are {title, value(row), show?(row), number?, short?}. */
export function table(caption, columns, rows, name) {
  const head = h("tr"), body = h("tbody");
  const cell = (c, at, row) =>
    h(at ? "td" : "th", {
      scope: at ? null : "row",
      "data-title": c.title,
      title: c.short ? String(c.value(row) ?? "") : null,
      class: c.number ? "number" : c.short ? "short" : null,
    }, c.show ? c.show(row) : String(c.value(row) ?? "–"));
  const draw = () => {
    const [title, direction] = orders.get(name) ?? [null, 1];
    const column = columns.find((c) => c.title === title);
    fill(
      head,
      columns.map((c) => {
        const words = c.fixed ? c.title : h("button", {
          type: "button",
          class: "sort",
          onclick: () => {
            orders.set(name, [c.title, c === column ? -direction : c.number ? -1 : 1]);
            draw();
          },
        }, c.title);
        return h("th", {
          scope: "col",
          class: c.number ? "number" : null,
          "aria-sort": c === column ? (direction > 0 ? "ascending" : "descending") : null,
        }, words);
      }),
    );
    fill(
      body,
      (column ? sorted(rows, column, direction) : rows).map((row) =>
        h("tr", {}, columns.map((c, at) => cell(c, at, row)))
      ),
    );
  };
  draw();
  const save = () =>
    download(
      `${name}.csv`,
      csv(columns.map((c) => c.title), rows.map((row) => columns.map((c) => c.value(row)))),
      "text/csv",
    );
  return h(
    "figure",
    { class: "table" },
    h(
      "figcaption",
      {},
      h("span", {}, caption),
      rows.length
        ? h(
          "button",
          { type: "button", class: "quiet small", onclick: save, "aria-label": `Save ${caption} as CSV` },
          "CSV",
        )
        : null,
    ),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
      h("table", {}, h("thead", {}, head), body),
    ),
  );
}
