// Figures and tables, as they were reported last.

import { call } from "../api.js";
import { draw, plain } from "../charts.js";
import { h, number, ownFile, show } from "../dom.js";

export async function tab(place, { id }) {
  const { plots } = await call("events.get_task_plots", { task: id, iters: 1, no_scroll: true });
  if (!plots.length) return show(place, h("p", { class: "soft" }, "No plots."));
  const list = h("div", { class: "charts" });
  show(place, list);
  for (const plot of plots) {
    const box = h("div", { class: "card" });
    list.append(box);
    await figure(box, plot);
  }
}

async function figure(box, plot) {
  let data;
  try { data = JSON.parse(plot.plot_str); } catch { return box.append(`${plot.metric}: no valid figure`); }
  const title = `${plot.metric}${plot.variant !== plot.metric ? ` / ${plot.variant}` : ""} (${plot.iter})`;
  const traces = data.data ?? [];
  if (traces.length === 1 && traces[0].type === "table") return box.append(h("h2", {}, title), table(traces[0]));
  const images = data.layout?.images ?? [];
  if (!traces.length && images.length) {
    const source = ownFile(images[0].source);
    return box.append(h("h2", {}, title), h("div", { class: "samples" }, source ? h("img", { src: source, alt: title, loading: "lazy" }) : h("a", { href: images[0].source }, images[0].source)));
  }
  const chart = h("div", { class: "chart" });
  box.append(chart);
  await draw(chart, traces, { ...data.layout, images: images.filter((each) => ownFile(each.source)), title: plain(title) });
}

function table(trace) {
  const columns = (trace.header?.values ?? []).map((name) => (Array.isArray(name) ? name.join(" ") : name));
  const cells = trace.cells?.values ?? [];
  const rows = cells[0]?.map?.((_, index) => cells.map((column) => column[index])) ?? [];
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, columns.map((name) => h("th", {}, String(name))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((value) => h("td", { class: typeof value === "number" ? "number" : "" }, String(number(value)))))))));
}
