import type { JSX } from 'preact';
import { ApiError, dropExport, exportFile, exportProgramme } from '../../api/http';
import type { ProgrammeDetails } from '../../api/types';
import { texts } from '../../i18n';
import { Icon } from '../../ui/icon';
import { say } from '../../ui/toast';
import { formatSize } from './size';

/** One file with everything in it, made by the appliance; how far it is, and what came of it. */
export function Exports({ details, onChange }: { details: ProgrammeDetails; onChange: () => void }): JSX.Element {
  const t = texts.value.programmes;
  const attempt = async (what: Promise<void>): Promise<void> => {
    try {
      await what;
    } catch (error) {
      say(error instanceof ApiError && error.detail !== '' ? error.detail : t.failed, false);
    }
    onChange();
  };
  return (
    <section data-testid="programme-exports">
      <h3>{t.exportTitle}</h3>
      <p class="muted small">{t.exportHint}</p>
      <p class="buttons">
        {(['mp4', 'webm'] as const).map((format) => (
          <button key={format} type="button" class="button small" onClick={() => void attempt(exportProgramme(details.id, format))} data-testid={`programme-export-${format}`}><Icon name="film" />{format.toUpperCase()}</button>
        ))}
      </p>
      <ul class="files">
        {details.exports.map((one) => {
          const under = one.state === 'waiting' || one.state === 'running';
          return (
            <li key={one.id} data-testid="programme-export" data-state={one.state}>
              <span>
                {one.format.toUpperCase()} · {t.exports[one.state] ?? one.state}
                {one.state === 'running' && <progress max={1} value={one.progress} aria-label={t.exportTitle} />}
                {one.size_bytes > 0 && ` · ${formatSize(one.size_bytes)}`}
                {one.error !== '' && <small class="tone-warning"> {one.error}</small>}
              </span>
              {one.state === 'done' && <a class="button small" href={exportFile(details.id, one.id)} download><Icon name="download" />{t.save}</a>}
              <button type="button" class="button small" onClick={() => void attempt(dropExport(details.id, one.id))}><Icon name="cross" />{under ? t.cancel : texts.value.recordings.remove}</button>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
