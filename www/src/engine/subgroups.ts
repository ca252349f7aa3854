/**
 * Subgroups in the browser: wgpu knows them natively only. It hands kernels on as they are, so nothing is missing
 * but the feature, which is added where a device is on its way from wgpu to the browser.
 */

let isAdding = false;

/** From now on devices are asked for with subgroups, where their adapter has them. */
export function addSubgroups(): void {
  if (isAdding) return;
  isAdding = true;
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = function (descriptor) {
    const added: GPUFeatureName[] = this.features.has('subgroups') ? ['subgroups'] : [];
    return requestDevice.call(this, { ...descriptor, requiredFeatures: [...descriptor?.requiredFeatures ?? [], ...added] });
  };
}
