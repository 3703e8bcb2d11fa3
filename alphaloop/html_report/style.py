"""The style sheet of reports: light or dark by the reader's preference, wide or narrow."""

from __future__ import annotations

# ruff: noqa: E501 - a rule of a style sheet is easiest to read on one line

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #faf9f6; --surface: #ffffff; --ink: #1d2125; --soft: #646b74; --rule: #e3e1db;
  --one: #1f5c99; --two: #8b9098; --three: #b9772a; --four: #5b7f5f; --five: #7d5a94; --six: #2f8f8b;
  --seven: #a8456b; --eight: #6b6f2a; --nine: #4a4fa8; --ten: #8a4b1e;
  --good: #2c7a4b; --bad: #b23a2b; --warn: #98650a; --muted: #8b9098;
  --sans: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua", Georgia, serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131519; --surface: #1a1d22; --ink: #e6e7e9; --soft: #9ba2ab; --rule: #2c3037;
    --one: #72aeea; --two: #959ca6; --three: #dca45c; --four: #8fbb93; --five: #b896d1; --six: #6cc4be;
    --seven: #e58fb0; --eight: #c4c66b; --nine: #9ea3f0; --ten: #d98a66;
    --good: #6cc191; --bad: #ee8573; --warn: #e0b152; --muted: #8d949d;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 var(--sans); font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%;
}
main { max-width: 1000px; margin: 0 auto; padding: 56px 32px 72px; }
header { margin-bottom: 36px; }
.kicker { margin: 0; color: var(--soft); font-size: 13px; letter-spacing: .04em; }
h1 { font: 600 40px/1.15 var(--serif); letter-spacing: -.01em; margin: 6px 0 18px; text-wrap: balance; }
.lead { font: 20px/1.5 var(--serif); max-width: 46em; margin: 0; text-wrap: pretty; }
section { margin-top: 56px; }
h2 { font: 600 25px/1.25 var(--serif); margin: 0 0 6px; }
h3 { font-size: 16px; font-weight: 600; margin: 0 0 4px; }
p { margin: 0 0 14px; max-width: 46em; text-wrap: pretty; }
section > p:first-of-type { color: var(--soft); }
a { color: var(--one); }
code, .mono { font: 13px/1.5 var(--mono); overflow-wrap: anywhere; }
.nothing, .note { color: var(--soft); font-size: 14px; }

.figures {
  display: grid; grid-template-columns: repeat(4, 1fr); gap: 1px; margin: 0;
  background: var(--rule); border: 1px solid var(--rule); border-radius: 10px; overflow: hidden;
}
.figures div { background: var(--surface); padding: 16px 18px 14px; }
.figures dt { color: var(--soft); font-size: 13px; line-height: 1.35; }
.figures dd { margin: 4px 0 0; font: 600 25px/1.2 var(--sans); letter-spacing: -.01em; }
.figures dd.note { font: 13px/1.4 var(--sans); letter-spacing: 0; margin-top: 4px; }
dd.good, td.good { color: var(--good); } dd.bad, td.bad { color: var(--bad); } dd.warn { color: var(--warn); }

.panel {
  background: var(--surface); border: 1px solid var(--rule); border-radius: 10px;
  padding: 20px 22px; margin: 18px 0 0;
}
.panel > :last-child { margin-bottom: 0; }
.panel h3 + p { color: var(--soft); font-size: 14px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 0 28px; }
.columns > * { min-width: 0; }

.badge {
  display: inline-block; font: 600 12px/1 var(--sans); letter-spacing: .02em; padding: 5px 9px 6px;
  border-radius: 99px; color: var(--tone); white-space: nowrap; vertical-align: 2px;
  background: color-mix(in srgb, var(--tone) 13%, transparent);
}
.badge.good { --tone: var(--good); } .badge.bad { --tone: var(--bad); }
.badge.warn { --tone: var(--warn); } .badge.muted { --tone: var(--soft); } .badge.one { --tone: var(--one); }

.chart + .note { margin-top: 20px; }
.chart svg { display: block; width: 100%; height: auto; overflow: visible; }
.chart svg.narrow { display: none; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 22px; list-style: none; padding: 0; margin: 0 0 8px;
  font-size: 14px; color: var(--soft); }
.legend b { color: var(--ink); font-weight: 600; }
.swatch { display: inline-block; width: 18px; border-top: 3px solid var(--tone, var(--one));
  margin-right: 8px; vertical-align: 4px; }
.swatch.dashed { border-top-style: dotted; }
.swatch.one { --tone: var(--one); } .swatch.two { --tone: var(--two); } .swatch.three { --tone: var(--three); }
.swatch.four { --tone: var(--four); } .swatch.five { --tone: var(--five); } .swatch.six { --tone: var(--six); } .swatch.good { --tone: var(--good); }
.swatch.seven { --tone: var(--seven); } .swatch.eight { --tone: var(--eight); } .swatch.nine { --tone: var(--nine); } .swatch.ten { --tone: var(--ten); }
.swatch.bad { --tone: var(--bad); } .swatch.warn { --tone: var(--warn); }
svg .one { --tone: var(--one); } svg .two { --tone: var(--two); } svg .three { --tone: var(--three); }
svg .four { --tone: var(--four); } svg .five { --tone: var(--five); } svg .six { --tone: var(--six); } svg .good { --tone: var(--good); }
svg .seven { --tone: var(--seven); } svg .eight { --tone: var(--eight); } svg .nine { --tone: var(--nine); } svg .ten { --tone: var(--ten); }
svg .bad { --tone: var(--bad); } svg .warn { --tone: var(--warn); } svg .muted { --tone: var(--muted); }
svg .label { font: 11px var(--sans); fill: var(--tone, var(--soft)); }
svg .strong { font-weight: 600; font-size: 12px; }
svg .grid { stroke: var(--rule); stroke-width: 1; } svg .tick { stroke: var(--soft); stroke-width: 1; }
svg .line { fill: none; stroke: var(--tone); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .line.two, svg .line.three { stroke-width: 1.5; } svg .line.dashed { stroke-dasharray: 1 5; }
svg .level { stroke: var(--tone); stroke-width: 1.25; stroke-dasharray: 5 4; }
svg .cell { fill: var(--tone); } svg .cut { stroke: var(--soft); stroke-width: .75; opacity: .55; }
svg .value { fill: var(--ink); } svg .over { fill: var(--surface); font-weight: 600; }
svg .band { fill: var(--tone); opacity: .11; } svg .bar, svg .segment { fill: var(--tone); }
svg .mark { fill: var(--tone); stroke: var(--surface); stroke-width: 2; }

.scroll { overflow-x: auto; margin: 0 -22px; padding: 0 22px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 13px; vertical-align: bottom; }
th, td { padding: 7px 16px 7px 0; border-bottom: 1px solid var(--rule); }
td { vertical-align: top; white-space: nowrap; } td:last-child { white-space: normal; overflow-wrap: anywhere; }
td:last-child:not(.number) { min-width: 9em; }
 tr:last-child td { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0; }
th.number, td.number { text-align: right; white-space: nowrap; }
.checks { list-style: none; margin: 0; padding: 0; font-size: 14px; } .checks li { padding: 3px 0 3px 26px; position: relative; }
.checks li::before { content: "✓"; position: absolute; left: 4px; color: var(--good); font-weight: 600; }
.checks li.bad::before { content: "✗"; color: var(--bad); }
.reasons { margin: 8px 0 0; padding-left: 20px; font-size: 14px; } .reasons li { margin-bottom: 3px; }

.chain { list-style: none; margin: 0; padding: 0; }
.chain li { position: relative; padding: 0 0 18px 30px; } .chain li:last-child { padding-bottom: 0; }
.chain li::before { content: ""; position: absolute; left: 4px; top: 7px; width: 9px; height: 9px;
  border-radius: 50%; background: var(--one); }
.chain li:not(:last-child)::after { content: ""; position: absolute; left: 8px; top: 20px; bottom: -3px;
  border-left: 1px solid var(--muted); }
.chain b { font-weight: 600; margin-right: 8px; } .chain span { color: var(--soft); font-size: 14px; }
.chain code { display: block; }

.bars { list-style: none; margin: 0; padding: 0; font-size: 14px; }
.bars li { display: grid; grid-template-columns: minmax(110px, 15em) 1fr 5em; gap: 14px; align-items: center;
  padding: 3px 0; }
.bars i { height: 9px; border-radius: 2px; background: var(--one); width: max(calc(var(--share) * 100%), 2px); }
.bars b { font-weight: 500; text-align: right; }
details { margin-top: 18px; } summary { cursor: pointer; color: var(--soft); font-size: 14px; }
.story { font: 13px/1.6 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; margin: 12px 0 0; }
footer { margin-top: 64px; padding-top: 18px; border-top: 1px solid var(--rule); color: var(--soft);
  font-size: 13px; }

@media (max-width: 640px) {
  main { padding: 32px 18px 48px; } h1 { font-size: 30px; } .lead { font-size: 18px; }
  section { margin-top: 44px; } .panel { padding: 16px; } .scroll { margin: 0 -16px; padding: 0 16px; }
  .figures { grid-template-columns: 1fr 1fr; } .figures div { padding: 13px 14px; } .figures dd { font-size: 21px; }
  .chart svg.wide { display: none; } .chart svg.narrow { display: block; }
  .bars li { grid-template-columns: 7.5em 1fr 4em; gap: 10px; }
}
@media print { body { background: none; } .panel, .figures, tr { break-inside: avoid; } main { padding: 0; } }
"""
