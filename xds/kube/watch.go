package kube

import (
	"context"
	"log/slog"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// maxObjects bounds the objects of one resource that are known. Beyond it new ones are left
// out, and the log says so.
const maxObjects = 20000

// watch knows the objects of a resource, as the API tells them: by a list at first, then by
// each change. What is known stays known while the API is away.
type watch struct {
	resource schema.GroupVersionResource
	informer cache.SharedIndexInformer
	logger   *slog.Logger
	away     atomic.Bool // the API did not answer, and the log says so
}

// watch makes one of those objects that have the labels; empty: all. The callback is called
// after each change, and must not block.
func (c *Client) watch(what schema.GroupVersionResource, labels string, changed func()) *watch {
	w := &watch{resource: what, logger: c.logger}
	asked := func(o metav1.ListOptions) metav1.ListOptions {
		o.LabelSelector = labels
		return o
	}
	w.informer = cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := c.in(what).List(ctx, asked(o))
			if apierrors.IsNotFound(err) { // a cluster without this resource has no objects of it
				return &unstructured.UnstructuredList{Object: map[string]any{"kind": "List", "apiVersion": "v1"}}, nil
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			stream, err := c.in(what).Watch(ctx, asked(o))
			if err == nil && w.away.Swap(false) {
				w.logger.InfoContext(ctx, "Kubernetes tells again what changes", "resource", what.Resource)
			}
			return stream, err
		},
	}, &unstructured.Unstructured{}, 0, cache.Indexers{})
	// Both fail only once it runs.
	_ = w.informer.SetTransform(slim)
	_ = w.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) { w.logOnce(ctx, err) })
	_, _ = w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		UpdateFunc: func(any, any) { changed() },
		DeleteFunc: func(any) { changed() },
	})
	return w
}

// slim drops what nobody reads and is often most of an object.
func slim(object any) (any, error) {
	if u, ok := object.(*unstructured.Unstructured); ok {
		u.SetManagedFields(nil)
	}
	return object, nil
}

// list is what is known.
func (w *watch) list() (all []*unstructured.Unstructured) {
	for n, object := range w.informer.GetStore().List() {
		if n == maxObjects {
			w.logger.Error("there are more objects than are read; some are left out", "resource", w.resource.Resource, "most", maxObjects)
			break
		}
		if u, ok := object.(*unstructured.Unstructured); ok {
			all = append(all, u)
		}
	}
	return all
}

// known tells whether the first list is here.
func (w *watch) known() bool { return w.informer.HasSynced() }

// serve watches until ctx ends.
func (w *watch) serve(ctx context.Context) { w.informer.RunWithContext(ctx) }

// read has an object as a Go value. What does not fit is the object's zero value: the API
// has checked it by its own schema.
func read[T any](u *unstructured.Unstructured) (value T) {
	_ = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &value)
	return value
}
