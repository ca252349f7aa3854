/**
 * Subgroups in the browser: wgpu knows them natively only. It hands kernels on as they are, so nothing is missing
 * but the feature, which is added where a device is on its way from wgpu to the browser.
 */

let isAsking = false;

/** Whether this browser's fastest adapter has subgroups. From now on devices are asked for with them. */
export async function askForSubgroups(): Promise<boolean> {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter?.features.has('subgroups')) return false;
  if (!isAsking) {
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = function (descriptor) {
      const added: GPUFeatureName[] = this.features.has('subgroups') ? ['subgroups'] : [];
      return requestDevice.call(this, { ...descriptor, requiredFeatures: [...descriptor?.requiredFeatures ?? [], ...added] });
    };
    isAsking = true;
  }
  return true;
}
