"use strict";
// All text comes from models: it is only ever set as textContent, never parsed as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const STEP = 100; // rows drawn at a time
const at = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Marks that reorder or hide text are shown by name; tabs and line ends stay.
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu;
const STRAY = /\p{Surrogate}/gu;

function written(tag, kind, text) {
  const node = make(tag, { class: kind, dir: "auto" });
  let from = 0;
  text = text.replace(/\r\n?/g, "\n").replace(STRAY, "\ufffd");
  for (const { 0: mark, index } of text.matchAll(UNSEEN)) {
    const name = "U+" + mark.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    node.append(text.slice(from, index), make("span", { class: "mark-char" }, name));
    from = index + mark.length;
  }
  node.append(text.slice(from));
  return node;
}

const plain = (text) => text.replace(UNSEEN, "\ufffd").replace(STRAY, "\ufffd");
const count = (n) => n.toLocaleString("en");
const percent = (share) => (share === null ? "" : (100 * share).toFixed(0) + "%");
const time = (s) => (s < 100 ? s.toFixed(1) : s.toFixed(0)) + " s";
const VERDICTS = { true: ["right", "✓"], false: ["wrong", "✗"], null: ["none", "–"] };

// ---- the table

const COLUMNS = [
  { key: "id", name: "problem", kind: "", cell: (r) => [link(r), make("small", {}, plain(r.text))] },
  { key: "right", name: "right", kind: "mark", cell: (r) => [verdict(r.right)] },
  { key: "answer", name: "answer", kind: "", cell: (r) => [String(r.answer)] },
  { key: "gold", name: "gold", kind: "", cell: (r) => [r.gold === null ? "" : String(r.gold)] },
  { key: "top", name: "votes", kind: "votes", cell: (r) => [stack(r), r.votes.slice(0, 3).map((v) => v[1]).join(" · ") || "none"] },
  { key: "margin", name: "margin", kind: "c-margin", cell: (r) => [percent(r.margin)] },
  { key: "pass", name: "pass@1", kind: "c-pass", cell: (r) => [percent(r.pass)] },
  { key: "tokens", name: "tokens", kind: "c-tokens", cell: (r) => [count(r.tokens)] },
  { key: "seconds", name: "seconds", kind: "c-seconds", cell: (r) => [r.seconds.toFixed(1)] },
];
let order = { key: "right", down: false }; // wrong ones first
let shown = []; // the rows that pass the filters, in order
let drawn = 0;

for (const row of rows) row.top = row.votes.length ? row.votes[0][1] : 0;

const address = (row) => "#problem=" + encodeURIComponent(row.id.toWellFormed()) + (row.n ? "&n=" + row.n : "");
const link = (row) => make("a", { href: address(row) }, plain(row.id) || "(no id)");

function verdict(right) {
  const [kind, mark] = VERDICTS[right];
  return make("span", { class: kind, role: "img", "aria-label": kind === "none" ? "unknown" : kind }, mark);
}

function stack(row) {
  const [right, lead, other] = shares(row);
  const known = row.gold !== null;
  const kinds = known ? ["s-right", "s-wrong", "s-other"] : ["s-lead", "s-none", "s-other"];
  const bar = make("span", { class: "stack", "aria-hidden": "true" });
  [right, lead, other].forEach((n, i) => {
    const part = make("i", { class: kinds[i] });
    part.style.width = (100 * n) / Math.max(1, row.samples) + "%";
    bar.append(part);
  });
  const names = known ? ["right", "for the best wrong answer"] : ["for the first answer", "for the second"];
  bar.title = `${right} ${names[0]}, ${lead} ${names[1]}, ${other} for others, of ${row.samples}`;
  return bar;
}

function shares(row) {
  const own = row.gold === null ? row.answer : row.gold;
  const right = (row.votes.find((v) => v[0] === own) || [0, 0])[1];
  const wrong = row.votes.filter((v) => v[0] !== own).map((v) => v[1]);
  const lead = wrong.length ? wrong[0] : 0;
  return [right, lead, wrong.reduce((a, b) => a + b, 0) - lead];
}

const KINDS = {
  all: () => true,
  wrong: (r) => r.right === false,
  lost: (r) => r.right === false && r.pass > 0,
  never: (r) => r.pass === 0,
  right: (r) => r.right === true,
  close: (r) => r.margin < 0.2,
};

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || b === null) return a === null ? 1 : -1; // unknown ones last
  if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
  return a < b ? -1 : 1;
}

function arrange() {
  const words = at("find").value.toLowerCase().trim();
  const kind = KINDS[at("kind").value];
  const holds = (r) => !words || `${r.id}\n${r.text}\n${r.answer}\n${r.gold}`.toLowerCase().includes(words);
  shown = rows.filter((r) => kind(r) && holds(r));
  const sign = order.down ? -1 : 1;
  shown.sort((a, b) => sign * compare(a[order.key], b[order.key]) || a.margin - b.margin);
  drawn = 0;
  at("body").replaceChildren();
  at("shown").textContent = `${count(shown.length)} of ${count(rows.length)}`;
  draw();
}

function draw() {
  const next = shown.slice(drawn, drawn + STEP);
  at("body").append(...next.map((row) =>
    make("tr", { onclick: () => { location.hash = address(row); } },
      ...COLUMNS.map((c) => make("td", { class: c.kind }, ...c.cell(row))))));
  drawn += next.length;
  at("more").textContent = drawn < shown.length ? `${count(shown.length - drawn)} more below` : "";
}

function heads() {
  at("heads").replaceChildren(...COLUMNS.map((c) => {
    const own = c.key === order.key;
    const sort = own ? (order.down ? "descending" : "ascending") : "none";
    const click = () => {
      order = { key: c.key, down: own ? !order.down : !["id", "right", "margin"].includes(c.key) };
      heads();
      arrange();
      at("heads").children[COLUMNS.indexOf(c)].firstChild.focus();
    };
    const mark = own ? (order.down ? " ↓" : " ↑") : "";
    return make("th", { class: c.kind, "aria-sort": sort, scope: "col" },
      make("button", { type: "button", "aria-label": c.name, onclick: click }, (c.kind === "mark" ? "✓" : c.name) + mark));
  }));
}

// ---- one problem

async function unpacked(number) {
  const packed = at("b" + number);
  if (!packed) return null; // still on its way in
  const bytes = Uint8Array.from(atob(packed.textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
}

let current = null;

async function open(row) {
  current = row;
  at("name").textContent = plain(row.id);
  if (!at("view").open) at("view").showModal();
  const page = at("page");
  page.replaceChildren(make("p", { class: "note" }, "reading …"));
  const runs = await Promise.all(row.blocks.map(unpacked));
  if (current !== row) return; // another was opened meanwhile
  if (runs.includes(null)) {
    addEventListener("DOMContentLoaded", () => current === row && open(row), { once: true });
    return;
  }
  page.replaceChildren(...problem(row, runs));
  page.scrollTop = 0;
  page.focus({ preventScroll: true });
}

function problem(row, runs) {
  const text = runs.length ? runs[0].text : row.text;
  const prompt = data.template && data.template.replace("{problem}", () => text);
  const samples = runs.flatMap((run) => run.samples.map((s) => ({ ...s, seed: run.seed })));
  const list = make("div");
  return [
    written("p", "text question", text),
    prompt ? make("details", { class: "plain" }, make("summary", {}, "prompt as sent"), written("pre", "", prompt)) : null,
    facts(row, runs),
    samples.length ? null : make("p", { class: "note" }, "This pool holds votes only: no sample's text was recorded."),
    chips(row, samples, list),
    list,
  ].filter((node) => node !== null);
}

function facts(row, runs) {
  const line = make("p", { class: "facts" }, "answer ", make("b", {}, String(row.answer)), " ", verdict(row.right));
  if (row.gold !== null) line.append(" · gold ", make("b", {}, String(row.gold)), ` · pass@1 ${percent(row.pass)}`);
  line.append(` · margin ${percent(row.margin)} · ${count(row.tokens)} tokens · ${time(row.seconds)}`);
  for (const run of runs) {
    if (runs.length > 1) line.append(` · seed ${run.seed}: ${run.answer}`);
    if (run.reason && run.reason !== "vote") line.append(` · ${plain(run.reason)}`);
  }
  return line;
}

function rank(row, sample) {
  const own = row.gold === null ? row.answer : row.gold;
  if (sample.answer === own) return 2;
  return sample.answer === null ? 1 : 0; // wrong ones first
}

function kindOf(row, sample) {
  return row.gold === null ? "" : ["wrong", "none", "right"][rank(row, sample)];
}

function chips(row, samples, list) {
  const votes = new Map(row.votes.map((v, i) => [v[0], i]));
  const place = (s) => (votes.has(s.answer) ? votes.get(s.answer) : votes.size);
  samples.sort((a, b) => rank(row, a) - rank(row, b) || place(a) - place(b));
  const bar = make("div", { class: "chips", role: "group", "aria-label": "samples by answer" });
  const groups = [["all", samples], ...groupsOf(samples)];
  const pick = (button, chosen) => {
    for (const other of bar.children) other.setAttribute("aria-pressed", other === button);
    list.replaceChildren(...chosen.map((s) => entry(row, s)));
    if (list.firstChild) list.firstChild.open = true;
  };
  for (const [answer, chosen] of groups) {
    const kind = answer === "all" ? "" : kindOf(row, chosen[0]);
    const button = make("button", { type: "button", class: kind, "aria-pressed": "false" }, `${answer} × ${chosen.length}`);
    button.addEventListener("click", () => pick(button, chosen));
    bar.append(button);
  }
  pick(bar.firstChild, samples);
  return samples.length ? bar : null;
}

function groupsOf(samples) {
  const groups = new Map();
  for (const sample of samples) {
    const answer = sample.answer === null ? "no answer" : String(sample.answer);
    groups.set(answer, [...(groups.get(answer) || []), sample]);
  }
  return groups;
}

// ---- one sample

function entry(row, sample) {
  const kind = kindOf(row, sample);
  const tokens = sample.rounds.reduce((sum, r) => sum + r.tokens, 0);
  const seconds = sample.rounds.reduce((sum, r) => sum + r.engine_s + r.sandbox_s, 0);
  const seed = data.seeds > 1 ? `seed ${sample.seed}, ` : "";
  const said = sample.answer === null ? sample.status : String(sample.answer);
  const meta = `${seed}sample ${sample.sample} · ${sample.rounds.length} rounds · ${count(tokens)} tokens · ${time(seconds)}`;
  const node = make("details", {}, make("summary", {},
    make("b", { class: kind }, said), " ", make("span", { class: "meta" }, meta)));
  node.addEventListener("toggle", () => {
    if (node.open && node.children.length === 1) node.append(body(sample, kind));
  });
  return node;
}

function body(sample, kind) {
  const node = make("div", { class: "sample" });
  const fill = (raw) => {
    const parts = raw ? [written("pre", "", asWritten(sample))] : sample.rounds.flatMap((r, i) => turn(r, i));
    const end = sample.answer === null ? `no answer: ${sample.status}` : `answer ${sample.answer}`;
    const why = sample.reason ? ` (${plain(sample.reason)})` : "";
    const box = make("input", { type: "checkbox", onchange: (event) => fill(event.target.checked) });
    box.checked = raw;
    node.replaceChildren(...parts, make("p", { class: "verdict " + kind }, end + why),
      make("label", { class: "note" }, box, " as written, fences and all"));
  };
  fill(false);
  return node;
}

const asWritten = (sample) => sample.rounds.map((r) => r.text + r.appended).join("");

function turn(round, index) {
  const tries = round.attempt ? `, attempt ${round.attempt + 1}` : "";
  const parts = [make("h3", {}, `round ${index + 1}${tries} · ${count(round.tokens)} tokens · ${time(round.engine_s)}`)];
  const [before, code, after] = split(round);
  if (before) parts.push(written("p", "text", before));
  if (code !== null) parts.push(written("pre", "code", code));
  if (after) parts.push(written("p", "text", after));
  return round.outcome === null ? parts : parts.concat(output(round));
}

const OPENING = /\s*(```[a-z]*|<tool_call>|<llm-code>|<\|python_tag\|>)\s*$/i;
const CLOSING = /^\s*(`{3,}|<\/tool_call>|<\/llm-code>|<\|eom_id\|>)/;

// The words before the code, the code, the words after it; the fences between them are left out.
function split(round) {
  const at = round.code ? round.text.lastIndexOf(round.code) : -1;
  if (at < 0) return [round.text.trim(), round.code || null, ""];
  const before = round.text.slice(0, at).replace(OPENING, "");
  const after = round.text.slice(at + round.code.length).replace(CLOSING, "");
  return [before.trim(), round.code, after.replace(/`*output\s*$/, "").trim()];
}

function output(round) {
  const bad = round.outcome === "ok" ? "" : " bad";
  const shown = round.output.trim();
  const parts = [written("pre", "output" + bad, shown || "(no output)")];
  const state = round.outcome === "ok" ? "" : `${round.outcome} · `;
  parts.unshift(make("h3", {}, `output · ${state}${time(round.sandbox_s)}`));
  if (!round.appended.includes(shown)) {
    parts.push(make("h3", {}, "what the model read of it"), written("pre", "output", round.appended.trim()));
  }
  return parts;
}

// ---- going from one to another

function follow() {
  const wanted = rows.find((row) => address(row) === location.hash);
  if (wanted) open(wanted);
  else if (at("view").open) at("view").close();
}

function step(by) {
  const next = shown[shown.indexOf(current) + by];
  if (next) location.replace(address(next));
}

at("close").addEventListener("click", () => at("view").close());
at("before").addEventListener("click", () => step(-1));
at("after").addEventListener("click", () => step(1));
at("view").addEventListener("click", (event) => event.target === at("view") && at("view").close());
at("view").addEventListener("close", () => {
  current = null;
  if (location.hash.startsWith("#problem=")) history.replaceState(null, "", location.pathname + location.search);
});
at("view").addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("find").addEventListener("input", arrange);
at("kind").addEventListener("change", arrange);
addEventListener("hashchange", follow);
new IntersectionObserver((seen) => seen.some((s) => s.isIntersecting) && drawn < shown.length && draw(), { rootMargin: "600px" }).observe(at("more"));
heads();
arrange();
follow();
