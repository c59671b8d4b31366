// A plotly figure that is changed in place: zoom, hover and legend choices survive new data.
// Runs again whenever its data or the theme changes; plotly itself comes with `plotly.min.js` (see chart.py).

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };

function plotly() {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  return new Promise((done) => {
    const timer = setInterval(() => {
      if (!window.Plotly) return;
      clearInterval(timer);
      done(window.Plotly);
    }, 30);
  });
}

function themed(layout, element) {
  const style = getComputedStyle(element);
  const theme = (name) => style.getPropertyValue(name).trim();
  const font = { family: style.fontFamily, color: theme("--st-text-color"), size: 12 };
  const hoverlabel = { bgcolor: theme("--st-secondary-background-color"), bordercolor: theme("--st-border-color"), font };
  return { ...layout, font, hoverlabel, autosize: true };
}

const views = new WeakMap(); // of a chart's box

// The first figure is drawn at once; what comes later waits until somebody looks: the chart in view, the tab in front.
function view(box) {
  if (views.has(box)) return views.get(box);
  const made = { due: null, away: false };
  made.show = () => {
    if (!made.due || made.away || document.hidden) return;
    const draw = made.due;
    made.due = null;
    draw();
  };
  const watcher = new IntersectionObserver((entries) => {
    made.away = !entries.at(-1).isIntersecting;
    made.show();
  }, { rootMargin: "200px" });
  watcher.observe(box);
  document.addEventListener("visibilitychange", made.show);
  made.close = () => {
    watcher.disconnect();
    document.removeEventListener("visibilitychange", made.show);
  };
  views.set(box, made);
  return made;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const box = parentElement.querySelector(".chart");
  const figure = JSON.parse(data.figure);
  box.style.height = `${figure.layout.height}px`;
  box.setAttribute("aria-label", data.alt);
  const looked = view(box);
  looked.due = () => plotly().then((Plotly) => {
    if (!box.isConnected) return;
    Plotly.react(box, figure.data, themed(figure.layout, parentElement), CONFIG);
    box.removeAllListeners("plotly_click");
    if (data.clickable) {
      box.on("plotly_click", ({ points: [{ x, y, customdata }] }) => setTriggerValue("picked", { x, y, means: customdata ?? "" }));
    }
  });
  looked.show();
  return () => {
    looked.close();
    window.Plotly?.purge(box);
  };
}
