import { topics } from '../../api/live';

/** A site's name as the configuration gives it; its id while the name is not known. */
export const siteName = (id: string): string => topics.status.value?.sites.find((site) => site.id === id)?.name ?? id;
