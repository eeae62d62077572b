#pragma once

namespace bellhop::bench {

/// For telephones, in the dark, and on paper. What is broader than the page scrolls by itself.
inline constexpr const char* kHtmlHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
:root { --paper: #fff; --ink: #1c1e21; --faint: #656a70; --line: #d9dce0; --today: #1f6fb5;
  --then: #b9bec5; --guest: #dbe9f6; --vmm: #f6e3c5; --good: #1a7f37; --bad: #b3261e;
  --series0: #6b7076; --series1: #1f6fb5; --series2: #b36a00; --series3: #1a7f37;
  --series4: #8a3ab9; --series5: #b0285a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17191c; --ink: #e4e6e8; --faint: #9aa0a6; --line: #3a3f45; --today: #64a8e8;
    --then: #5c636b; --guest: #24405c; --vmm: #5a4520; --good: #6fcf86; --bad: #f28b82;
    --series0: #a7adb3; --series1: #64a8e8; --series2: #e5a850; --series3: #6fcf86;
    --series4: #c792ea; --series5: #f08cab; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
.headline { font-size: 1.15rem; border-left: 4px solid var(--today); padding-left: .8rem; }
.faint, .words, .when { color: var(--faint); }
.words, .when { font-size: .875rem; }
.warning { border: 1px solid var(--bad); border-radius: 4px; padding: .5rem .8rem; }
.scroll { overflow-x: auto; margin: 0 0 .5rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
.caption { font-weight: bold; margin: 1.5rem 0 .4rem; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th.group { text-align: center; color: var(--faint); font-weight: normal; }
th.left, td.left { text-align: left; }
td.good { color: var(--good); }
td.bad { color: var(--bad); }
table.facts td { white-space: normal; vertical-align: top; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); border-radius: 4px;
  font-size: .875rem; white-space: pre-wrap; }
.pictures { display: grid; gap: 1rem 2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: bold; }
svg.chart { width: 100%; max-width: 40rem; height: auto; display: block; font: 14px sans-serif; }
svg text { fill: var(--ink); }
svg .strong { font-weight: bold; }
svg .value, svg .tick { font-size: 13px; }
svg .tick { fill: var(--faint); text-anchor: middle; }
svg .inbox { text-anchor: middle; font-size: 13px; }
svg .today { fill: var(--today); }
svg .then { fill: var(--then); }
svg .guest { fill: var(--guest); }
svg .vmm { fill: var(--vmm); }
svg .left { fill: var(--faint); text-anchor: end; font-size: 13px; }
svg .series0 { fill: var(--series0); }
svg .series1 { fill: var(--series1); }
svg .series2 { fill: var(--series2); }
svg .series3 { fill: var(--series3); }
svg .series4 { fill: var(--series4); }
svg .series5 { fill: var(--series5); }
svg .fill { fill: var(--ink); }
svg .error, svg .arrow { stroke: var(--ink); stroke-width: 1.5; }
svg .zero { stroke: var(--faint); stroke-width: 1; }
@media print {
  :root { --paper: #fff; --ink: #000; --faint: #444; --line: #bbb; --today: #1f6fb5; --then: #bbb;
    --guest: #e4eef8; --vmm: #f6e8d2; --good: #060; --bad: #900; --series0: #555;
    --series1: #1f6fb5; --series2: #a05e00; --series3: #156b2e; --series4: #7030a0;
    --series5: #90204a; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .1rem .3rem; white-space: normal; }
  tr, figure, pre { break-inside: avoid; }
}
</style>
)";

}  // namespace bellhop::bench
