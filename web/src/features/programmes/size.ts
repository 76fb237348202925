import { formatDecimal } from '../../i18n';

/** A size in the unit that leaves few digits. */
export function formatSize(octets: number): string {
  if (octets >= 1e9) return `${formatDecimal(octets / 1e9)} GB`;
  return `${formatDecimal(octets / 1e6)} MB`;
}
