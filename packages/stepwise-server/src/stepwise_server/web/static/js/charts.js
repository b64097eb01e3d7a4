// Plotly, loaded when the first view with charts is opened, in the colours of the page.

let loading;

function plotly() {
  loading ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = `${document.body.dataset.assets}/plotly.min.js`;
    script.onload = () => done(window.Plotly);
    script.onerror = () => failed(new Error("Plotly could not be loaded"));
    document.head.append(script);
  });
  return loading;
}
plotly().catch(() => {}); // while the data are on their way; who draws will hear of a failure

export const COLOURS = ["#3b76e1", "#e0782f", "#2f9e6e", "#c9428a", "#8a63d2", "#b88a00", "#1f97a8", "#c0504d"];

// Plotly reads a little markup in names and titles; what users call things is to be shown as it is.
export function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export async function draw(element, traces, layout = {}) {
  const Plotly = await plotly();
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true };
  const given = typeof layout.title === "string" ? { text: layout.title } : layout.title;
  const full = {
    ...layout,
    title: given ? { font: { size: 14 }, ...given } : undefined,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), size: 12 },
    colorway: COLOURS,
    margin: { l: 54, r: 14, t: 40, b: 40, ...layout.margin },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
    legend: { orientation: "h", y: -0.3, ...layout.legend },
    autosize: true,
    width: undefined,
    height: undefined,
  };
  await Plotly.react(element, traces, full, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] });
}

// Exponential moving average, corrected for its start, so that the first points are not pulled to zero.
export function smooth(values, weight) {
  if (!weight) return values;
  let mean = 0;
  return values.map((value, index) => {
    mean = mean * weight + value * (1 - weight);
    return mean / (1 - weight ** (index + 1));
  });
}
