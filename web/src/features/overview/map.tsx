import type { JSX } from 'preact';
import type { Line, SiteStatus } from '../../api/types';
import { formatMega, formatNumber, texts } from '../../i18n';
import { Badge } from '../../ui/badge';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { useSize } from '../../ui/size';
import { lineWord, usedBps } from '../lines/gauge';
import { Gauge, Legend, lineTones } from '../lines/bar';
import { star } from './star';

/** Headquarters in the middle, a spoke per branch that is its line. On narrow screens the same as a list. */
export function StarMap({ sites, lines }: { sites: readonly SiteStatus[]; lines: readonly Line[] }): JSX.Element {
  const t = texts.value;
  const [box, size] = useSize<HTMLDivElement>();
  const main = sites.find((site) => site.main);
  const branches = sites.filter((site) => !site.main);
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const map = star(branches.length, {
    width: size.width, height: size.height, cardWidth: 12 * rem, cardHeight: 5.75 * rem, hub: 3.5 * rem, gap: 0.25 * rem, thickness: 0.75 * rem, readable: 11 * rem,
  });
  return (
    <section class="panel map" aria-label={t.overview.map}>
      {sites.length === 0 && <Empty icon="network" title={t.overview.noSites} hint={t.overview.noSitesHint} />}
      <div class="star" ref={box}>
        {main !== undefined && <Hub site={main} x={map.hubX} y={map.hubY} />}
        {branches.map((site, index) => {
          const spoke = map.spokes[index];
          const line = lines.find((candidate) => candidate.site === site.id);
          if (spoke === undefined) return null;
          return (
            <div class="spoke" key={site.id}>
              <span
                class="spoke-path"
                style={{ left: `${map.hubX.toFixed(1)}px`, top: `${map.hubY.toFixed(1)}px`, width: `${spoke.distance.toFixed(1)}px`, transform: `rotate(${spoke.angle.toFixed(2)}deg)` }}
              />
              {line !== undefined && (
                <div
                  class="spoke-line" data-testid={`line-gauge-${site.id}`}
                  style={{ left: `${spoke.gaugeX.toFixed(1)}px`, top: `${spoke.gaugeY.toFixed(1)}px`, width: `${spoke.length.toFixed(1)}px`, transform: `translate(-50%, -50%) rotate(${spoke.angle.toFixed(2)}deg)` }}
                >
                  <Gauge name={site.name} side="up" direction={line.up} fromEnd thin />
                  <Gauge name={site.name} side="down" direction={line.down} thin />
                </div>
              )}
              <div class="spoke-card" style={{ left: `${spoke.x.toFixed(1)}px`, top: `${spoke.y.toFixed(1)}px` }}>
                <Branch site={site} line={line} />
              </div>
            </div>
          );
        })}
      </div>
      <Legend />
    </section>
  );
}

function Hub({ site, x, y }: { site: SiteStatus; x: number; y: number }): JSX.Element {
  return (
    <div class="hub" data-testid={`site-${site.id}`} style={{ left: `${x.toFixed(1)}px`, top: `${y.toFixed(1)}px` }}>
      <strong>{site.name}</strong>
      <Counts site={site} />
    </div>
  );
}

function Branch({ site, line }: { site: SiteStatus; line: Line | undefined }): JSX.Element {
  const t = texts.value;
  const word = line === undefined ? 'none' : lineWord(line);
  const uneven = line !== undefined && line.up.capacity_bps !== line.down.capacity_bps;
  return (
    <a class={`branch tone-edge-${lineTones[word]}`} href="/lines" data-testid={`site-${site.id}`} data-line={word}>
      <span class="branch-head">
        <strong>{site.name}</strong>
        <Badge tone={lineTones[word]}>{t.line.words[word]}</Badge>
      </span>
      {line !== undefined && (
        <span class="branch-rates">
          <span title={t.line.upLong}><Icon name="up" />{formatMega(usedBps(line.up))}{uneven && `/${formatMega(line.up.capacity_bps)}`}</span>
          <span title={t.line.downLong}><Icon name="down" />{formatMega(usedBps(line.down))}{uneven && `/${formatMega(line.down.capacity_bps)}`}</span>
          <span class="muted">{uneven ? 'Mbit/s' : `/ ${formatMega(line.up.capacity_bps)} Mbit/s`}</span>
        </span>
      )}
      {line !== undefined && (
        <span class="branch-gauges">
          <Gauge name={site.name} side="up" direction={line.up} fromEnd thin />
          <Gauge name={site.name} side="down" direction={line.down} thin />
        </span>
      )}
      <Counts site={site} />
    </a>
  );
}

function Counts({ site }: { site: SiteStatus }): JSX.Element {
  const t = texts.value.overview;
  const missing = site.terminals_registered < site.terminals_total;
  return (
    <span class="counts">
      <span class={missing ? 'tone-warning' : ''} title={t.phones}>
        <Icon name="phone" />
        {formatNumber(site.terminals_registered)}/{formatNumber(site.terminals_total)}
      </span>
      <span title={t.inCalls}>
        <Icon name="call" />
        {formatNumber(site.calls_active)}
      </span>
      <span class={site.participants > 0 ? 'tone-busy' : 'tone-muted'} title={site.participants > 0 ? t.inMeeting : t.notInMeeting}>
        <Icon name={site.participants > 0 ? 'video' : 'video-off'} />
        {formatNumber(site.participants)}
      </span>
    </span>
  );
}
