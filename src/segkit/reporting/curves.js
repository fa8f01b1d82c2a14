// Draws the curves of all groups with uPlot: hover, drag to zoom, a click in the legend hides a line. Without scripts and in
// print, the SVG is shown instead.
const style = getComputedStyle(document.documentElement);
const ink = style.getPropertyValue("--ink").trim() || "#000";
const faint = style.getPropertyValue("--line").trim() || "#ccc";
const curves = JSON.parse(document.getElementById("curves-data").textContent);
curves.charts.forEach((chart, number) => {
  const box = document.getElementById(`curves-${number}`);
  const size = () => ({ width: Math.max(Math.min(box.clientWidth, 1150), 320), height: 360 });
  const axis = { stroke: ink, grid: { stroke: faint, width: 1 }, ticks: { stroke: faint } };
  const shown = (_, value) => (value == null ? "–" : value.toPrecision(4));
  const plot = new uPlot({
    ...size(),
    title: chart.title,
    scales: { x: { time: false }, y: { distr: chart.log ? 3 : 1 } },
    cursor: { drag: { x: true, y: true, uni: 20 }, focus: { prox: 12 } },
    focus: { alpha: 0.25 },
    axes: [{ ...axis, label: "epoch" }, { ...axis, size: 70 }],
    series: [{ label: "epoch" }, ...chart.lines.map(line => ({
      label: line.title,
      stroke: curves.colors[line.group % curves.colors.length],
      width: line.split === "val" ? 2 : 1.2,
      dash: line.split === "val" ? [7, 4] : undefined,
      points: { show: chart.epochs.length < 12 },
      spanGaps: true,
      value: shown,
    }))],
  }, [chart.epochs, ...chart.lines.map(line => line.values)], box);
  addEventListener("resize", () => plot.setSize(size()));
});
document.getElementById("overlay").classList.add("drawn");
