// Curves: one chart for each metric, one line for each variant; single values as a table.

import { call } from "../api.js";
import { draw, plain, smooth } from "../charts.js";
import { h, number, save, show } from "../dom.js";
import { setQuery } from "../main.js";

const EVERY = 3000;

export async function tab(place, { id, task }, keep = (metric) => !metric.startsWith(":monitor")) {
  const query = new URLSearchParams(location.search);
  const weight = h("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: query.get("smooth") ?? 0, "aria-label": "Smoothing",
    oninput: () => { setQuery({ smooth: Number(weight.value) ? weight.value : "" }); redraw(); } });
  const axis = h("select", { "aria-label": "x axis", onchange: () => { setQuery({ x: axis.value === "iter" ? "" : axis.value }); load(); } },
    [["iter", "by iteration"], ["relative", "by time since start"], ["iso_time", "by wall time"]].map(([value, name]) => h("option", { value, selected: value === query.get("x") }, name)));
  const log = h("input", { type: "checkbox", checked: query.get("log") === "1", onchange: () => { setQuery({ log: log.checked ? "1" : "" }); redraw(); } });
  const filter = h("input", { type: "search", placeholder: "Metric", "aria-label": "Filter metrics", oninput: () => redraw() });
  const single = h("div", {});
  const charts = h("div", { class: "charts" });
  show(place, h("div", { class: "bar" }, h("label", {}, "Smoothing ", weight), axis, h("label", {}, log, " log scale"), filter,
    h("button", { onclick: () => download(task, curves) }, "CSV")), single, charts);
  let curves = {};
  const boxes = new Map();

  async function load() {
    const key = axis.value === "relative" ? "timestamp" : axis.value;
    const [found, values] = await Promise.all([
      call("events.scalar_metrics_iter_histogram", { task: id, key, samples: 1000 }),
      call("events.get_task_single_value_metrics", { tasks: [id] }),
    ]);
    curves = Object.fromEntries(Object.entries(found).filter(([metric]) => keep(metric)));
    const rows = (values.tasks[0]?.values ?? []).filter((each) => keep(each.metric));
    show(single, rows.length && keep("Summary") ? h("details", { class: "card narrow", open: true, style: "margin-bottom: .8rem" }, h("summary", {}, `Single values (${rows.length})`),
      h("div", { class: "scroll values" }, h("table", {}, h("tbody", {}, rows.map((each) => h("tr", {}, h("td", {}, each.variant), h("td", { class: "number" }, number(each.value)))))))) : "");
    await redraw();
  }

  async function redraw() {
    const names = Object.keys(curves).filter((metric) => metric.toLowerCase().includes(filter.value.toLowerCase()));
    for (const [metric, box] of boxes) if (!names.includes(metric)) { box.parentElement.remove(); boxes.delete(metric); }
    if (!Object.keys(curves).length) return show(charts, h("p", { class: "soft" }, "No curves yet."));
    if (!boxes.size) show(charts);
    for (const metric of names) {
      if (!boxes.has(metric)) {
        boxes.set(metric, h("div", { class: "chart" }));
        charts.append(h("div", { class: "card" }, boxes.get(metric)));
      }
      const variants = Object.values(curves[metric]);
      const start = Math.min(...variants.map((each) => each.x[0]));
      const lines = variants.flatMap((each) => line(each, axis.value === "relative" ? start : null));
      const label = { iter: variants[0].x_axis_label ?? "iteration", relative: "minutes", iso_time: "" }[axis.value];
      await draw(boxes.get(metric), lines, { title: plain(variants.length > 1 ? metric : `${metric} / ${variants[0].name}`), xaxis: { title: { text: plain(label) } }, yaxis: { type: log.checked ? "log" : "linear" }, hovermode: "x unified", uirevision: "keep" });
    }
  }

  function line({ name, x, y }, start) {
    const places = start === null ? x : x.map((time) => (time - start) / 60000);
    const base = { x: places, name: plain(name), mode: x.length === 1 ? "markers" : "lines", line: { width: 1.8 } };
    const amount = Number(weight.value);
    if (!amount) return [{ ...base, y }];
    return [{ ...base, y: smooth(y, amount) }, { ...base, y, name: `${plain(name)} (as is)`, opacity: 0.25, showlegend: false, hoverinfo: "skip" }];
  }

  await load();
  const timer = setInterval(() => document.hidden || task.status !== "in_progress" || load().catch(() => {}), EVERY);
  return () => clearInterval(timer);
}

function download(task, curves) {
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const lines = Object.entries(curves).flatMap(([metric, variants]) => Object.values(variants).flatMap(({ name, x, y }) => x.map((place, index) => [quoted(metric), quoted(name), place, y[index]].join(","))));
  save(`${task.name}.csv`, ["metric,variant,x,value", ...lines].join("\n"), "text/csv");
}
