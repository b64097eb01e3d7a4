// Where the model looked in one test sentence: the artifact `attention` of a run of `stepwise train`.

import { call } from "../api.js";
import { h, ownFile, show } from "../dom.js";

const KINDS = { encoder: "Encoder: source looks at source", decoder: "Decoder: target looks at target so far", cross: "Cross: target looks at source" };
const TOKENS = 64; // of each side: what can still be told apart, and what a browser draws at once
const LAYERS = 4; // drawn at once, others are chosen
const DEEP = [[247, 250, 255], [8, 48, 140]]; // light to dark: no weight, all of it

export async function tab(place, { id }) {
  const { execution } = (await call("tasks.get_by_id_ex", { id, only_fields: ["execution.artifacts"] })).tasks[0];
  const artifact = (execution?.artifacts ?? []).find((each) => each.key === "attention");
  const source = artifact?.uri && ownFile(artifact.uri);
  if (!source) return show(place, h("p", { class: "soft" }, "No attention here: it is kept at the end of ", h("code", {}, "stepwise train --track clearml"), "."));
  const response = await fetch(source);
  if (!response.ok) return show(place, h("p", { class: "soft" }, `The artifact “attention” cannot be read (${response.status}).`));
  let found;
  try { found = read(await response.json()); } catch (error) { return show(place, h("p", { class: "soft" }, `The artifact “attention” is not what this view reads: ${error.message}`)); }

  const kinds = Object.keys(KINDS).filter((kind) => found.kinds[kind]);
  const kind = h("select", { "aria-label": "Kind of attention", onchange: () => choose() }, kinds.map((value) => h("option", { value, selected: value === "cross" }, KINDS[value])));
  const first = h("select", { "aria-label": "Layers", onchange: () => draw() });
  const grid = h("div", {});
  show(place, h("div", { class: "bar" }, kind, first, h("span", { class: "soft" }, `“${found.source}” → “${found.target}”${found.whole ? "" : " (first tokens only)"}`)),
    h("p", { class: "soft" }, "Each row is a token and shows how it spread its attention over the columns. Attention weights say where a head read from; they do not say that what it read decided the result: other heads, the values and the layers above may undo it."), grid);

  function choose() {
    const layers = found.kinds[kind.value].weights.length;
    show(first, Array.from({ length: Math.ceil(layers / LAYERS) }, (_, part) => h("option", { value: part * LAYERS }, `layers ${part * LAYERS + 1}–${Math.min(layers, (part + 1) * LAYERS)} of ${layers}`)));
    draw();
  }

  function draw() {
    const { rows, columns, weights } = found.kinds[kind.value];
    const start = Number(first.value);
    show(grid, weights.slice(start, start + LAYERS).map((heads, index) => h("section", {}, h("h2", {}, `Layer ${start + index + 1}`),
      h("div", { class: "maps" }, heads.map((map, head) => {
        const title = `Layer ${start + index + 1}, head ${head + 1}`;
        return h("button", { class: "card", "aria-label": `Enlarge ${title}`, onclick: () => enlarge(title, map, rows, columns) },
          canvas(map, rows, columns, 4), h("span", {}, `Head ${head + 1}`), h("span", { class: "soft" }, `${entropy(map).toFixed(2)} bits`));
      })))));
  }
  choose();
}

// Cuts what is too long, and refuses what has another form.
function read(found) {
  for (const each of Object.values(found.kinds)) {
    each.rows = each.rows.slice(0, TOKENS).map(String);
    each.columns = each.columns.slice(0, TOKENS).map(String);
    each.weights = each.weights.map((layer) => layer.map((head) => each.rows.map((_, row) => each.columns.map((_, column) => Number(head[row][column]) / 1000))));
  }
  return found;
}

// Mean over the rows: 0 bits where each looks at one token, log2(n) where at all of n alike.
function entropy(map) {
  const bits = map.map((row) => row.reduce((sum, weight) => (weight > 0 ? sum - weight * Math.log2(weight) : sum), 0));
  return bits.reduce((sum, each) => sum + each, 0) / (bits.length || 1);
}

function canvas(map, rows, columns, size) {
  const element = h("canvas", { width: columns.length * size, height: rows.length * size });
  const brush = element.getContext("2d");
  map.forEach((row, y) => row.forEach((weight, x) => {
    brush.fillStyle = `rgb(${DEEP[0].map((light, part) => Math.round(light + (DEEP[1][part] - light) * weight)).join(" ")})`;
    brush.fillRect(x * size, y * size, size, size);
  }));
  return element;
}

function enlarge(title, map, rows, columns) {
  const size = Math.max(8, Math.min(36, Math.floor(Math.min(innerWidth * 0.8, 900) / columns.length), Math.floor((innerHeight * 0.62) / rows.length)));
  const picture = canvas(map, rows, columns, size);
  const told = h("p", { role: "status", "aria-live": "polite" }, "Move over the map, or use the arrow keys: tokens and weight.");
  let [x, y] = [0, 0];
  const tell = () => { told.textContent = `“${rows[y]}” looks at “${columns[x]}”: ${(map[y][x] * 100).toFixed(1)} %`; };
  const within = (value, list) => Math.max(0, Math.min(list.length - 1, value));
  picture.addEventListener("mousemove", (event) => {
    const box = picture.getBoundingClientRect();
    x = within(Math.floor(((event.clientX - box.left) / box.width) * columns.length), columns);
    y = within(Math.floor(((event.clientY - box.top) / box.height) * rows.length), rows);
    tell();
  });
  picture.tabIndex = 0;
  picture.setAttribute("aria-label", `${title}: arrow keys move`);
  picture.addEventListener("keydown", (event) => {
    const [right, down] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] ?? [0, 0];
    if (!right && !down) return;
    event.preventDefault();
    x = within(x + right, columns);
    y = within(y + down, rows);
    tell();
  });
  const dialog = h("dialog", { class: "map", "aria-label": title, onclose: () => dialog.remove() },
    h("div", { class: "bar" }, h("b", { class: "grow" }, title), h("button", { onclick: () => dialog.close() }, "Close")), told, h("div", { class: "scroll" }, picture),
    h("p", { class: "soft" }, h("b", {}, "rows "), rows.join(" "), h("br"), h("b", {}, "columns "), columns.join(" ")));
  document.body.append(dialog);
  dialog.showModal();
}
